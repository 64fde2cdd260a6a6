-- Acquire the lease of a scan of the unsubscribed that is due or unfinished. Comes after gate.lua
-- and background.lua.
-- What was read of another list is forgotten, and copies from before that moment no longer count.
-- The same goes for all copies if the clock was set back.
-- KEYS 3: opt_outs, 4: synced.
-- ARGV 2: token of the lease, 3: seconds of the lease, 4: seconds after which a scan is due again,
--   5: seconds after which an unfinished scan starts anew, 6: seconds that it may wait for a page,
--   7: seconds that the state lives, 8: mark of the list.
-- Returns {cursor, unsubscribed members so far}, or {} if there is no lease to acquire.
local OPT_OUTS = KEYS[3]
local token, lease = ARGV[2], tonumber(ARGV[3])
local refresh, trusted = tonumber(ARGV[4]), tonumber(ARGV[5])
local longest_wait, lives = tonumber(ARGV[6]), ARGV[7]

local function is_younger(field, age)
    local moment = number(OPT_OUTS, field)
    return moment and now >= moment and now - moment < age
end

local list = redis.call('HGET', OPT_OUTS, 'list')
if list and list ~= ARGV[8] then redis.call('DEL', OPT_OUTS) end
if list ~= ARGV[8] or (number(OPT_OUTS, 'moved_at') or 0) > now then
    redis.call('DEL', KEYS[4])
    redis.call('HSET', OPT_OUTS, 'list', ARGV[8], 'moved_at', string.format('%.6f', now))
end
if redis.call('HSETNX', OPT_OUTS, 'since', now) == 1 then redis.call('EXPIRE', OPT_OUTS, lives) end
if is_ahead(OPT_OUTS, 'running_until', lease) then return {} end
if is_ahead(OPT_OUTS, 'resume_at', rules.longest_unavailable) then return {} end
if not is_younger('began', trusted) then
    if is_younger('fresh_from', refresh) then return {} end
    redis.call('HSET', OPT_OUTS, 'began', string.format('%.6f', now), 'cursor', '', 'so_far', 0)
end
if background_seconds() > longest_wait then return {} end
redis.call('HSET', OPT_OUTS, 'token', token, 'running_until', now + lease)
redis.call('EXPIRE', OPT_OUTS, lives)
return redis.call('HMGET', OPT_OUTS, 'cursor', 'so_far')
