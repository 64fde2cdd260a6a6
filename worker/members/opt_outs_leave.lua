-- Release the lease of an unfinished scan. Any worker may resume the scan, after a failure not
-- before a backoff.
-- KEYS 3: opt_outs.
-- ARGV 2: token of the lease, 3: 'failed', or 'held' if the scan only waits for the gate.
-- Returns 1, or 0 if another worker has the scan by now.
local OPT_OUTS = KEYS[3]
if redis.call('HGET', OPT_OUTS, 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', OPT_OUTS, 'token', 'running_until')
if ARGV[3] == 'failed' then
    local failures = redis.call('HINCRBY', OPT_OUTS, 'failures', 1)
    local backoff = math.min(rules.longest_unavailable, rules.base * 2 ^ math.min(failures - 1, 32))
    redis.call('HSET', OPT_OUTS, 'resume_at', now + backoff * (0.5 + rules.chance / 2))
end
return 1
