-- failed_again: one more call in a row that failed or was refused
update source set failures = failures + 1, closed_until = ?2, closed_reason = ?3 where name = ?1;

-- answers: the source answered
update source set failures = 0, closed_until = null, closed_reason = null where name = ?1 and failures > 0;

-- call_back: what was set aside is due now; the source answers others, so that was an attempt
update batch set not_before = ?3, attempt = attempt + 1 where source = ?1 and not_before >= ?2;

-- pause: the source said not now; within quota, so its pace is halved
update quota set blocked_until = case when blocked_until > ?2 then blocked_until else ?2 end,
    slowdown = case when slowdown < 32 then slowdown * 2 else 64 end, slowed_at = ?3
where name = ?1;

-- speed_up: it has not throttled us for a while: its pace climbs back
update quota set slowdown = slowdown / 2, slowed_at = ?2
where name = ?1 and slowdown > 1 and slowed_at + ?3 < ?2;

-- hold_back: the source said that nothing is left of its own limit for so long
update quota set blocked_until = case when blocked_until > ?2 then blocked_until else ?2 end where name = ?1;
