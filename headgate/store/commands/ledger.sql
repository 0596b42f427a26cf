-- clock: what ledger time is counted from
select epoch, offset_us from clock;

-- insert_clock: a new ledger
insert into clock (only, epoch, offset_us) values (1, ?1, ?2);

-- update_clock: a new epoch
update clock set epoch = ?1, offset_us = ?2;

-- rejoin_quotas: the time that was carried is not carried again
update quota set last_at = ?1, last_wall = ?2;

-- newest_quota: the latest instant that the ledger has shown, and the wall clock then
select last_at, last_wall from quota order by last_at desc limit 1;

-- carry_entries: only watched time counts for what was called shortly before nobody watched
update ledger set occupied_until = occupied_until + ?1, carried_us = carried_us + ?1 where occupied_until > ?2;

-- carry_charges: the same for what it was charged to
update ledger_charge set occupied_until = occupied_until + ?1, carried_us = carried_us + ?1 where occupied_until > ?2;

-- lock (sqlite): the quotas that a source is charged to, in the order of their names, with the source and the clock
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown, q.last_at,
       q.last_wall, s.rules, s.failures, s.closed_until, c.epoch, c.offset_us
from quota_source n join quota q on q.name = n.quota join source s on s.name = n.source left join clock c on true
where n.source = ?1 and n.left_at is null order by q.name;

-- lock (postgres): the same, locked in that order until the transaction ends
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown, q.last_at,
       q.last_wall, s.rules, s.failures, s.closed_until, c.epoch, c.offset_us
from quota_source n join quota q on q.name = n.quota join source s on s.name = n.source left join clock c on true
where n.source = ?1 and n.left_at is null order by q.name for update of q;

-- out: what of a quota is charged to calls whose u is unknown
select coalesce(sum(cost), 0) from ledger_charge where quota = ?1 and occupied_until is null;

-- held: what else is charged and may still occupy a window
select occupied_until, cost, carried_us from ledger_charge where quota = ?1 and occupied_until > ?2;

-- in_flight: calls of a source that were not answered, given up or rescued
select count(*) from ledger where source = ?1 and in_flight = 1;

-- insert_entry: a grant is spent when this is committed
insert into ledger (source, worker, seq, number, fence, cost, granted_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
returning entry;

-- insert_charge: a quota that a grant is charged to
insert into ledger_charge (quota, entry, cost) values (?1, ?2, ?3);

-- update_quota: where the pace stands, and how far ledger time is seen to be
update quota set next_at = ?2, last_at = ?3, last_wall = ?4 where name = ?1;

-- close_entry: the call is over; u is set once, then only lowered
update ledger
set in_flight = 0, written_at = ?2, occupied_until = min(coalesce(occupied_until, ?3), ?3), answered_at = ?4
where entry = ?1;

-- close_charges: its charges occupy their windows until u
update ledger_charge set occupied_until = min(coalesce(occupied_until, ?2), ?2) where entry = ?1;

-- write_entry: it is written and still in flight, and its u is known all the same
update ledger set written_at = ?2, occupied_until = min(coalesce(occupied_until, ?3), ?3), answered_at = ?4
where entry = ?1;

-- entry: what is known of a call
select granted_at, occupied_until, cost from ledger where entry = ?1;

-- charged: the quotas that an entry was charged to
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown
from ledger_charge c join quota q on q.name = c.quota where c.entry = ?1;

-- prune_entries: what no window and no reader needs any more
delete from ledger where entry in (
  select entry from ledger where source = ?1 and in_flight = 0 and occupied_until <= ?2 and entry <= (
    select entry from ledger where source = ?1 order by entry desc limit 1 offset ?3) order by entry limit ?4)
returning occupied_until;

-- pruned: from when on a source's entries are known one by one
update source set pruned_until = max(pruned_until, ?2) where name = ?1;

-- prune_charges: what no window needs any more
delete from ledger_charge where (entry, quota) in (
  select entry, quota from ledger_charge where quota = ?1 and occupied_until <= ?2 limit ?3);
