-- insert_record: what a call came to for one id
insert into record (seq, position, ending, body, reason, ended_at) values (?1, ?2, ?3, ?4, ?5, ?6);

-- end_batch: nothing is left of it
update batch
set status = ?4, ready = 0, not_before = null, worker = null, lease_until = null, todo = null, left_count = 0,
    failed = failed + ?5, reason = coalesce(?6, reason), ended_at = ?7
where seq = ?1 and number = ?2 and fence = ?3 and status = 'triggered';

-- return_batch: it goes back to its place in the line
update batch
set ready = ?4, not_before = ?5, worker = null, lease_until = null, todo = ?6, left_count = ?7, attempt = ?8,
    failed = failed + ?9, reason = coalesce(?10, reason), rescues = rescues + ?11
where seq = ?1 and number = ?2 and fence = ?3 and status = 'triggered';

-- count: ids ended; the ingestion ends with its last one
update ingestion
set fetched = fetched + ?2, missing = missing + ?3, failed = failed + ?4, cancelled = cancelled + ?5,
    ended_at = case when fetched + missing + failed + cancelled + ?2 + ?3 + ?4 + ?5 = distinct_count
               then cast(?6 as bigint) end
where seq = ?1;

