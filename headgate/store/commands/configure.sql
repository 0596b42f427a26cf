-- quota: a quota as it is in force
select windows, pacing, next_at from quota where name = ?1;

-- insert_quota: a new quota
insert into quota (name, windows, pacing, last_at, last_wall) values (?1, ?2, ?3, ?4, ?5);

-- update_quota: what this process's file says is in force from now on, also for work already queued
update quota set windows = ?2, pacing = ?3, next_at = ?4 where name = ?1;

-- upsert_source: what every process obeys
insert into source (name, rules) values (?1, ?2) on conflict (name) do update set rules = excluded.rules;

-- forget_shares: the quotas that a source no longer names
delete from quota_source where source = ?1;

-- insert_share: a quota that a source is charged to
insert into quota_source (source, quota) values (?1, ?2);

-- charge_newly_named: a quota counts what a source that names it now was granted before
insert into ledger_charge (quota, entry, cost, occupied_until)
select ?2, entry, cost, occupied_until from ledger where source = ?1
on conflict (entry, quota) do nothing;
