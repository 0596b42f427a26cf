-- advance: the cursor moves on; so many distinct ids have begun
update ingestion set next_batch = ?2, waiting = ?3, begun = begun + ?4 where seq = ?1 and next_batch = ?5;

-- begin_batch: a batch has a row once it has begun
insert into batch (seq, number, source, priority, status, ready, attempt, fence, worker, lease_until, todo,
                   left_count, triggered_at)
values (?1, ?2, ?3, ?4, 'triggered', 0, 1, ?5, ?6, ?7, ?8, ?9, ?10);

-- take_batch: only if it is still as it was read
update batch set ready = 0, fence = ?4, worker = ?5, lease_until = ?6
where seq = ?1 and number = ?2 and fence = ?3 and ready = 1;
