-- Release the lease of an unfinished scan or sync. Any worker may resume it, after a failure not
-- before a backoff.
-- KEYS 3: opt_outs, or sync.
-- ARGV 2: token of the lease, 3: 'failed', or 'on_hold' if it only waits for the gate.
-- Returns 1, or 0 if another worker has it by now.
local STATE = KEYS[3]
if redis.call('HGET', STATE, 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', STATE, 'token', 'running_until')
if ARGV[3] == 'failed' then
    local failures = redis.call('HINCRBY', STATE, 'failures', 1)
    local backoff = math.min(rules.longest_unavailable, rules.base * 2 ^ math.min(failures - 1, 32))
    redis.call('HSET', STATE, 'resume_at', now + backoff * (0.5 + rules.jitter / 2))
end
return 1
