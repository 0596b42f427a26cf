-- due: batches of a source whose instant has come
select seq, number from batch where source = ?1 and not_before <= ?2 order by not_before, seq, number limit ?3;

-- make_ready: what waited for an instant is eligible
update batch set ready = 1, not_before = null where seq = ?1 and number = ?2;

-- first_begun: the first begun batch that is ready
select b.priority, b.seq, b.number, b.attempt, b.fence, b.todo, i.size
from batch b join ingestion i on i.seq = b.seq
where b.source = ?1 and b.ready = 1 order by b.priority, b.seq, b.number limit 1;

-- first_waiting: the first ingestion with a batch that may begin
select priority, seq, next_batch, size, id_count, batch_count
from ingestion where source = ?1 and waiting = 1 order by priority, seq limit 1;

-- chunk: the ids around a position
select ids, repeats from id_chunk where seq = ?1 and start = ?2;

-- next_distinct: the first chunk from a position on that has an id for the first time
select start, ids, repeats from id_chunk
where seq = ?1 and start >= ?2 and distinct_count > 0 order by start limit 1;

-- next_due: when the next batch of a source becomes eligible
select min(not_before) from batch where source = ?1 and not_before is not null;
