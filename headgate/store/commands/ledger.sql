-- clock: what ledger time is counted from
select epoch, offset_us, touches from clock;

-- clock_alone: the same, locked until the transaction ends
select epoch, offset_us, touches from clock for update;

-- touch: somebody who watches the reference has looked
update clock set touches = touches + 1;

-- insert_clock: a new ledger
insert into clock (single, epoch, offset_us) values (1, ?1, ?2);

-- begin_epoch: nobody watched the time until now
update clock set epoch = ?1, offset_us = ?2, touches = touches + 1 where epoch = ?3;

-- move_clock: the reference has stepped, ledger time has not
update clock set offset_us = ?1 where epoch = ?2 and offset_us = ?3;

-- hold_all_turn (sqlite): nothing, since whoever writes has the file to himself

-- hold_all_turn (postgres): a row that stands for all sources, also for those that are still to come
select 1 from schema_version where number = 1 for update;

-- hold_all (sqlite): nothing, since whoever writes has the file to himself

-- hold_all (postgres): every source, until the transaction ends
select 1 from source order by name for update;

-- rejoin_quotas: the time that was carried is not carried again
update quota set last_at = ?1, last_wall = ?2;

-- newest_quota: the latest instant that the ledger has shown, and the wall clock then
select last_at, last_wall from quota order by last_at desc limit 1;

-- carry_entries: only watched time counts for what was called shortly before nobody watched
update ledger set occupied_until = occupied_until + ?1, carried_us = carried_us + ?1 where occupied_until > ?2;

-- carry_charges: the same for what it was charged to
update ledger_charge set occupied_until = occupied_until + ?1, carried_us = carried_us + ?1 where occupied_until > ?2;

-- hold (sqlite): nothing, since whoever writes has the file to himself

-- hold (postgres): a source, until the transaction ends
select 1 from source where name = ?1 for update;

-- lock: the quotas that a source is charged to, locked in the order of their names, with the source and the clock
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown, q.last_at,
       q.last_wall, s.rules, s.failures, s.closed_until, c.epoch, c.offset_us, c.touches
from quota_source n join quota q on q.name = n.quota join source s on s.name = n.source left join clock c on true
where n.source = ?1 and n.left_at is null order by q.name for update of q;

-- see: the same, as they stand without a lock
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown, q.last_at,
       q.last_wall, s.rules, s.failures, s.closed_until, c.epoch, c.offset_us
from quota_source n join quota q on q.name = n.quota join source s on s.name = n.source join clock c on true
where n.source = ?1 and n.left_at is null order by q.name;

-- every_last: how far every quota's ledger time is
select name, last_at from quota;

-- every_quota: every quota, with the rules of each source that names it, or did
select q.name, q.windows, q.last_at, s.rules
from quota q left join quota_source n on n.quota = q.name left join source s on s.name = n.source order by q.name;

-- hold_quota: nothing is granted before an instant
update quota set blocked_until = case when blocked_until > ?2 then blocked_until else ?2 end,
    last_at = ?3, last_wall = ?4
where name = ?1;

-- update_quota: where the pace stands, and how far ledger time is seen to be
update quota set next_at = ?2, last_at = ?3, last_wall = ?4 where name = ?1;
