-- tickets: who waits for room in a quota
select t.source, t.number, t.cost, t.due_at
from ticket t join quota_source s on s.source = t.source where s.quota = ?1 and s.left_at is null;

-- take: a ticket keeps its number while its source goes on waiting
insert into ticket (source, number, cost, due_at)
values (?1, (select coalesce(max(number), 0) + 1 from ticket), ?2, ?3)
on conflict (source) do update set
  cost = excluded.cost, due_at = excluded.due_at,
  number = case when ticket.due_at + ?4 < ?5 then excluded.number else ticket.number end;

-- first_lapse: when the first of the other tickets on a source's quotas is due
select min(t.due_at) from quota_source a
join quota_source b on b.quota = a.quota and b.source <> a.source
join ticket t on t.source = b.source where a.source = ?1 and a.left_at is null and b.left_at is null;

-- give_back: it was granted, or waits for something else
delete from ticket where source = ?1;

-- sharers: every source that is charged to a quota of this one
select distinct b.source from quota_source a join quota_source b on b.quota = a.quota
where a.source = ?1 and a.left_at is null and b.left_at is null;
