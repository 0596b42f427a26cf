-- insert: a worker, or the same one again
insert into worker (worker, host, pid, version, sources, started_at, seen_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?6)
on conflict (worker) do nothing;

-- delete: it is no longer there
delete from worker where worker = ?1;

-- seen: it is still there
update worker set seen_at = ?2 where worker = ?1;

-- forget: nobody has heard of it for long
delete from worker where seen_at < ?1;
