-- held_batch: a batch as its holder left it; nothing if it is no longer held under this fence
select b.todo, b.attempt, b.failed, i.cancelled_at is not null, i.ingestion_id
from batch b join ingestion i on i.seq = b.seq
where b.seq = ?1 and b.number = ?2 and b.fence = ?3 and b.worker is not null;

-- whose: the ingestion that a batch belongs to
select ingestion_id from ingestion where seq = ?1;
