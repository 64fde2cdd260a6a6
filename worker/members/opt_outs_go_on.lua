-- Note the progress of a scan of the unsubscribed, and renew its lease.
-- A scan that takes too long stops, and the next one starts anew.
-- KEYS 3: opt_outs.
-- ARGV 2: token of the lease, 3: cursor of the next page, 4: unsubscribed members so far,
--   5: seconds of the lease, 6: seconds that a scan may take in all.
-- Returns 1, or 0 if this worker must stop, because another has the scan or it starts anew.
local OPT_OUTS = KEYS[3]
if redis.call('HGET', OPT_OUTS, 'token') ~= ARGV[2] then return 0 end
if now - (number(OPT_OUTS, 'began') or 0) > tonumber(ARGV[6]) then
    redis.call('HDEL', OPT_OUTS, 'began')
    return 0
end
redis.call('HSET', OPT_OUTS, 'cursor', ARGV[3], 'so_far', ARGV[4], 'running_until', now + ARGV[5])
redis.call('HDEL', OPT_OUTS, 'failures')
return 1
