-- sources: every source that was ever configured
select name, rules, failures, closed_until, closed_reason from source order by name;

-- quotas_of: the quotas that a source is charged to
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown
from quota_source s join quota q on q.name = s.quota where s.source = ?1 and s.left_at is null order by q.name;

-- waiting: ingestions with batches that may begin, and how many batches
select count(*), cast(coalesce(sum(batch_count - next_batch), 0) as bigint) from ingestion where source = ?1 and waiting = 1;

-- ready: begun batches that stand in the line
select count(*) from batch where source = ?1 and ready = 1;

-- backing_off: begun batches that wait for an instant
select count(*), min(not_before) from batch where source = ?1 and not_before is not null;

-- latencies: how long the newest answered calls took
select answered_at - granted_at from ledger
where source = ?1 and answered_at is not null order by entry desc limit 20;

-- calls: the newest calls, and for whom they were
select l.entry, l.granted_at, l.written_at, l.in_flight, l.number, i.ingestion_id
from ledger l left join ingestion i on i.seq = l.seq and i.client = ?2
where l.source = ?1 order by l.entry desc limit ?3;
