-- quota: a quota as it is in force
select windows, pacing, next_at from quota where name = ?1;

-- insert_quota: a new quota
insert into quota (name, windows, pacing, last_at, last_wall) values (?1, ?2, ?3, ?4, ?5);

-- update_quota: what this process's file says is in force from now on, also for work already queued
update quota set windows = ?2, pacing = ?3, next_at = ?4 where name = ?1;

-- known_source: a source that was ever configured
select rules from source where name = ?1;

-- upsert_source: what every process obeys
insert into source (name, rules) values (?1, ?2) on conflict (name) do update set rules = excluded.rules;

-- charged_to: every source that is charged to a quota
select source from quota_source where quota = ?1 and left_at is null;

-- shares: the quotas that a source names, or named until some instant
select quota, left_at from quota_source where source = ?1;

-- leave: a source no longer names a quota
update quota_source set left_at = ?3 where source = ?1 and quota = ?2;

-- name: a source names a quota, perhaps again
insert into quota_source (source, quota) values (?1, ?2)
on conflict (source, quota) do update set left_at = null;

-- charge_known: a quota counts the calls of a source that are known one by one
insert into ledger_charge (entry, quota, cost, occupied_until, carried_us)
select l.entry, ?2, l.cost, l.occupied_until, l.carried_us
from ledger l join source s on s.name = l.source
where l.source = ?1 and (l.occupied_until is null or l.occupied_until > s.pruned_until)
on conflict (entry, quota) do nothing returning cost, occupied_until;

-- known_from: from when on the calls of a source are known one by one, and the latest u among them
select s.pruned_until, (select max(occupied_until) from ledger l where l.source = s.name)
from source s where s.name = ?1;

-- bring_along: what was accepted under a former name after the source had taken another
update ingestion set source = ?2 where source = ?1 and waiting = 1;
