-- records: what calls came to, in the order of the list
select position, ending, body, reason, ended_at from record
where seq = ?1 and position >= ?2 order by position limit ?3;

-- lengths: how long their bodies are, which is known without reading them
select coalesce(length(body), 0) from record
where seq = ?1 and position >= ?2 order by position limit ?3;

-- fetched: those that the source sent
select position, ending, body, reason, ended_at from record
where seq = ?1 and position >= ?2 and ending = 'fetched' order by position limit ?3;

-- lengths_fetched: how long the bodies of those are
select coalesce(length(body), 0) from record
where seq = ?1 and position >= ?2 and ending = 'fetched' order by position limit ?3;

-- not_fetched: those that ended in another way
select position, ending, body, reason, ended_at from record
where seq = ?1 and position >= ?2 and ending = ?4 and ending <> 'fetched' order by position limit ?3;

-- chunks: the ids of an ingestion between two positions
select start, ids from id_chunk where seq = ?1 and start >= ?2 and start <= ?3 order by start;
