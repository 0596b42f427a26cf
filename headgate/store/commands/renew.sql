-- renew: only what is still held under the fence that the worker knows
update batch set lease_until = ?4 where seq = ?1 and number = ?2 and fence = ?3 and worker = ?5
returning seq, number, fence;
