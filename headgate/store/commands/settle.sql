-- held_batch: a batch as its holder left it; nothing if it is no longer held under this fence
select b.todo, b.attempt, b.failed, i.cancelled_at is not null
from batch b join ingestion i on i.seq = b.seq
where b.seq = ?1 and b.number = ?2 and b.fence = ?3 and b.worker is not null;
