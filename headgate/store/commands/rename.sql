-- source: a source takes another name
update source set name = ?2 where name = ?1;

-- quota: its own quota has its name, and is as far as any: the name may have been another's, of whom somebody knows
update quota set name = ?2, last_at = (select max(last_at) from quota),
    last_wall = (select last_wall from quota order by last_at desc limit 1)
where name = ?1;

-- shares: what it is charged to
update quota_source set source = ?2 where source = ?1;

-- own_share: its own quota
update quota_source set quota = ?2 where quota = ?1;

-- entries: the ledger comes along
update ledger set source = ?2 where source = ?1;

-- charges: what its own quota is charged with
update ledger_charge set quota = ?2 where quota = ?1;

-- buckets: the same, in buckets
update quota_bucket set quota = ?2 where quota = ?1;

-- ingestions: the queue comes along
update ingestion set source = ?2 where source = ?1;

-- batches: begun ones too
update batch set source = ?2 where source = ?1;

-- ticket: and its turn
update ticket set source = ?2 where source = ?1;
