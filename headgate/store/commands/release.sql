-- release: its quotas are held by nothing but their windows and their pace
update quota set blocked_until = 0
where name in (select quota from quota_source where source = ?1 and left_at is null);
