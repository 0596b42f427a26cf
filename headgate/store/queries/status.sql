-- ingestion: one ingestion of a client
select seq, ingestion_id, source, priority, size, id_count, batch_count, next_batch, distinct_count, begun,
       fetched, missing, failed, cancelled, accepted_at, ended_at, cancelled_at
from ingestion where ingestion_id = ?1 and client = ?2;

-- begun_batches: the batches of an ingestion that have a row
select number, status from batch where seq = ?1 and number >= ?2 and number < ?3 order by number;

-- chunks: the ids of an ingestion from one position to before another
select start, ids, repeats from id_chunk where seq = ?1 and start >= ?2 and start < ?3 order by start;

-- in_flight (sqlite): which of these batches are under way
select number from batch
where seq = ?1 and status = 'triggered' and number in (select value from json_each(?2));

-- in_flight (postgres): the same
select number from batch
where seq = ?1 and status = 'triggered'
  and number in (select cast(value as bigint) from json_array_elements_text(cast(?2 as json)));

-- endings (sqlite): how the ids at these first positions ended
select position, ending from record where seq = ?1 and position in (select value from json_each(?2));

-- endings (postgres): the same
select position, ending from record
where seq = ?1 and position in (select cast(value as bigint) from json_array_elements_text(cast(?2 as json)));
