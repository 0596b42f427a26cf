-- clock: what ledger time is counted from
select epoch, offset_us from clock;

-- newest_quota: the latest instant that the ledger has shown
select coalesce(max(last_at), 0) from quota;
