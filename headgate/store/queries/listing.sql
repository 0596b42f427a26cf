-- ingestions: a client's ingestions, newest first
select seq, ingestion_id, source, priority, size, id_count, batch_count, next_batch, distinct_count, begun,
       fetched, missing, failed, cancelled, accepted_at, ended_at, cancelled_at
from ingestion
where client = ?1 and seq < ?2
  and (cast(?3 as text) is null or source = ?3)
  and (cast(?4 as bigint) is null or priority = ?4)
  and (cast(?5 as text) is null or ?5 = case
    when ended_at is null and begun = 0 then 'yet_to_start'
    when ended_at is null then 'triggered'
    when cancelled_at is not null or cancelled > 0 then 'cancelled'
    when failed > 0 then 'failed'
    else 'completed' end)
order by seq desc limit ?6;
