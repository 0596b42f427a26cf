-- held_batch: a batch as its holder left it; nothing if it is no longer held under this fence
select b.todo, b.attempt, b.failed, i.cancelled_at is not null
from batch b join ingestion i on i.seq = b.seq
where b.seq = ?1 and b.number = ?2 and b.fence = ?3 and b.worker is not null;

-- failed_again: one more call in a row that failed or was refused
update source set failures = failures + 1, closed_until = ?2, closed_reason = ?3 where name = ?1;

-- answers: the source answered
update source set failures = 0, closed_until = null, closed_reason = null where name = ?1 and failures > 0;
