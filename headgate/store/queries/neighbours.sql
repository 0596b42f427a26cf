-- holders: who holds batches, and when the first of their leases runs out
select worker, min(lease_until) from batch where worker is not null group by worker;

-- present: who has signed in
select worker, started_at, seen_at from worker;
