-- waiting_before: batches not begun of ingestions that go first
select cast(coalesce(sum(batch_count - next_batch), 0) as bigint)
from ingestion where source = ?1 and waiting = 1 and (priority, seq) < (?2, ?3);

-- begun_before: begun batches that go first
select count(*) from batch where source = ?1 and ready = 1 and (priority, seq) < (?2, ?3);

-- own_line: begun batches of an ingestion that nobody holds, and the earliest instant that they wait for
select count(*), count(*) filter (where ready = 1), min(not_before)
from batch where seq = ?1 and status = 'triggered' and worker is null;
