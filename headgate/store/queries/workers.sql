-- workers: with how many batches each holds
select w.worker, w.host, w.pid, w.version, w.sources, w.started_at, w.seen_at,
       (select count(*) from batch b where b.worker = w.worker)
from worker w order by w.started_at, w.worker;

-- sources_of: what a worker calls, as a JSON array
select sources from worker where worker = ?1;
