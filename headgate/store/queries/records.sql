-- records: what calls came to, in the order of the list
select position, ending, body, reason, ended_at from record
where seq = ?1 and position >= ?2 order by position limit ?3;

-- chunks: the ids of an ingestion between two positions
select start, ids from id_chunk where seq = ?1 and start >= ?2 and start <= ?3 order by start;
