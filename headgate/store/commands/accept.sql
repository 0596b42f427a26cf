-- insert_ingestion: accepted is kept; the sequence number is the order of acceptance
insert into ingestion (ingestion_id, client, source, priority, size, id_count, distinct_count, batch_count,
                       accepted_at, idempotency_key, fingerprint)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
on conflict (ingestion_id) do nothing returning seq, ingestion_id;

-- insert_chunk: some ids of the list
insert into id_chunk (seq, start, distinct_count, repeats, ids) values (?1, ?2, ?3, ?4, ?5);

-- same_key: what was accepted under this key before
select ingestion_id, source, fingerprint from ingestion where client = ?1 and idempotency_key = ?2;
