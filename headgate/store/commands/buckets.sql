-- add: cost that occupies a window until the end of its bucket
insert into quota_bucket (quota, width_us, ends_at, cost) values (?1, ?2, ?3, ?4)
on conflict (quota, width_us, ends_at) do update set cost = quota_bucket.cost + excluded.cost;

-- held: what of a quota may still occupy a window of this width
select ends_at, cost from quota_bucket where quota = ?1 and width_us = ?2 and ends_at > ?3;

-- prune: what has left the window
delete from quota_bucket where (quota, width_us, ends_at) in (
  select quota, width_us, ends_at from quota_bucket
  where quota = ?1 and width_us = ?2 and ends_at <= ?3 limit ?4);

-- forget_width: a window that is no longer in force
delete from quota_bucket where quota = ?1 and width_us = ?2;

-- widths: the widths in which a quota has been counting
select distinct width_us from quota_bucket where quota = ?1;

-- seed_width: a window that is new counts what the totals of the minutes know
insert into quota_bucket (quota, width_us, ends_at, cost)
select ?1, ?2, case when ends_at < ?5 then ends_at else ?5 end, sum(cost) from quota_bucket
where quota = ?3 and width_us = 60000000 and ends_at > ?4 and ends_at - 60000000 < ?6 group by 3
on conflict (quota, width_us, ends_at) do update set cost = quota_bucket.cost + excluded.cost;

-- seed_charges: where entries are no longer known one by one, an exact window counts the minutes
insert into ledger_charge (entry, quota, cost, occupied_until)
select -(ends_at + ?6), ?1, cost, case when ends_at < ?5 then ends_at else ?5 end from quota_bucket
where quota = ?2 and width_us = 60000000 and ends_at > ?3 and ends_at - 60000000 < ?4
on conflict (entry, quota) do update set cost = excluded.cost;

-- carry_short: only watched time counts for short windows (first half: out of the way, since a key must not clash)
update quota_bucket set ends_at = -(ends_at + ?1) where width_us <= ?2 and ends_at > ?3;

-- carry_short_back: the second half
update quota_bucket set ends_at = -ends_at where ends_at < 0;
