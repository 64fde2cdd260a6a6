-- Note a complete scan of the unsubscribed: by the holder of its lease or, without a token, by a
-- sync.
-- KEYS 3: opt_outs.
-- ARGV 2: token of the lease, or '', 3: without a token, when the sync began, epoch seconds,
--   4: how many members are unsubscribed, 5: seconds that the state lives, 6: mark of the list.
-- Returns the seconds that the scan took, or '' if another worker has it by now, or if the workers
--   have another list.
local OPT_OUTS = KEYS[3]
local token, began, members, lives = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if (redis.call('HGET', OPT_OUTS, 'list') or ARGV[6]) ~= ARGV[6] then return '' end
redis.call('HSET', OPT_OUTS, 'list', ARGV[6])
if token ~= '' then
    if redis.call('HGET', OPT_OUTS, 'token') ~= token then return '' end
    began = redis.call('HGET', OPT_OUTS, 'began')
    redis.call('HDEL', OPT_OUTS, 'token', 'running_until', 'began', 'cursor', 'so_far', 'failures',
        'resume_at')
end
local took, fresh_from = now - began, number(OPT_OUTS, 'fresh_from') or 0
if tonumber(began) > fresh_from or fresh_from > now then
    redis.call('HSET', OPT_OUTS, 'fresh_from', began, 'ended', now, 'members', members,
        'seconds', took)
    redis.call('EXPIRE', OPT_OUTS, lives)
end
return tostring(took)
