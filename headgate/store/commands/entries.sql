-- out: what of a quota is charged to calls whose u is unknown
select cast(coalesce(sum(cost), 0) as bigint) from ledger_charge where quota = ?1 and occupied_until is null;

-- held: what else is charged and may still occupy a window
select occupied_until, cost, carried_us from ledger_charge where quota = ?1 and occupied_until > ?2;

-- in_flight: calls of a source that were not answered, given up or rescued
select count(*) from ledger where source = ?1 and in_flight = 1;

-- insert_entry: a grant is spent when this is committed
insert into ledger (source, worker, seq, number, fence, cost, granted_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
returning entry;

-- insert_charge: a quota that a grant is charged to
insert into ledger_charge (quota, entry, cost) values (?1, ?2, ?3);

-- close_entry: the call is over; u is set once, then only lowered
update ledger
set in_flight = 0, written_at = ?2, answered_at = ?4,
    occupied_until = case when occupied_until < ?3 then occupied_until else ?3 end
where entry = ?1;

-- close_charges: its charges occupy their windows until u
update ledger_charge set occupied_until = case when occupied_until < ?2 then occupied_until else ?2 end
where entry = ?1;

-- write_entry: it is written and still in flight, and its u is known all the same
update ledger set written_at = ?2, answered_at = ?4,
    occupied_until = case when occupied_until < ?3 then occupied_until else ?3 end
where entry = ?1;

-- entry: what is known of a call
select entry, granted_at, occupied_until, cost, (select count(*) from ledger_charge where entry = ?1)
from ledger where entry = ?1;

-- charged: the quotas that an entry was charged to
select q.name, q.windows, q.pacing, q.next_at, q.blocked_until, q.slowdown
from ledger_charge c join quota q on q.name = c.quota where c.entry = ?1;

-- prune_entries: what no window and no reader needs any more
delete from ledger where entry in (
  select entry from ledger where source = ?1 and in_flight = 0 and occupied_until <= ?2 and entry <= (
    select entry from ledger where source = ?1 order by entry desc limit 1 offset ?3) order by entry limit ?4)
returning occupied_until;

-- pruned: from when on a source's entries are known one by one
update source set pruned_until = case when pruned_until > ?2 then pruned_until else ?2 end where name = ?1;

-- prune_charges: what no window needs any more
delete from ledger_charge where (entry, quota) in (
  select entry, quota from ledger_charge where quota = ?1 and occupied_until <= ?2 limit ?3);
