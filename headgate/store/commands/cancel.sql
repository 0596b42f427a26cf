-- source_of: whose line it stands in
select source from ingestion where ingestion_id = ?1 and client = ?2;

-- ingestion: what there is to cancel
select seq, source, distinct_count, begun, fetched + missing + failed + cancelled, cancelled_at is not null
from ingestion where ingestion_id = ?1 and client = ?2;

-- left_in_line: ids of begun batches that nobody holds
select cast(coalesce(sum(left_count), 0) as bigint) from batch
where seq = ?1 and status = 'triggered' and worker is null;

-- cancel_in_line: begun batches that nobody holds end here
update batch set status = 'cancelled', ready = 0, not_before = null, todo = null, left_count = 0, ended_at = ?2
where seq = ?1 and status = 'triggered' and worker is null;

-- cancel: nothing more is begun; what never began, and what stood in the line, is counted
update ingestion
set cancelled_at = ?2, waiting = 0, begun = distinct_count, cancelled = cancelled + ?3,
    ended_at = case when fetched + missing + failed + cancelled + ?3 = distinct_count then cast(?2 as bigint) end
where seq = ?1;

-- in_flight: batches that a worker holds
select count(*) from batch where seq = ?1 and worker is not null;
