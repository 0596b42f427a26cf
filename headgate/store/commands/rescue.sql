-- first_source: whose batch a worker has held for the longest
select source from batch where worker = ?1 order by lease_until limit 1;

-- held_by: batches of a worker on a source whose leases ran out before an instant, locked against a renewal
select b.seq, b.number, b.fence, b.todo, b.attempt, b.failed, i.cancelled_at is not null, i.ingestion_id, b.rescues,
       (select max(entry) from ledger l
        where l.source = b.source and l.in_flight = 1 and l.seq = b.seq and l.number = b.number and l.fence = b.fence)
from batch b join ingestion i on i.seq = b.seq
where b.worker = ?1 and b.lease_until < ?2 and b.source = ?3 order by b.seq, b.number limit 100
for update of b;
