-- begun: what is to be said of begun batches beyond their status
select number, attempt, not_before, worker is not null, reason, triggered_at, ended_at
from batch where seq = ?1 and number >= ?2 and number < ?3;
