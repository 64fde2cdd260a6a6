-- Acquire the lease of a sync that is due or unfinished. That of another list is not resumed. Comes
-- after gate.lua and background.lua.
-- KEYS 3: sync, 4: synced.
-- ARGV 2: token of the lease, 3: seconds of the lease, 4: seconds after which a sync is due again,
--   5: seconds that it may wait for a page, 6: seconds that the progress lives,
--   7: mark of the list.
-- Returns the fields and values of the sync, or {} if there is no lease to acquire.
local SYNC = KEYS[3]

if (redis.call('HGET', SYNC, 'list') or ARGV[7]) ~= ARGV[7] then redis.call('DEL', SYNC) end
if is_ahead(SYNC, 'running_until', tonumber(ARGV[3])) then return {} end
if is_ahead(SYNC, 'resume_at', rules.longest_unavailable) then return {} end
if redis.call('HEXISTS', SYNC, 'began') == 0 then
    local age = now - (tonumber(redis.call('GET', KEYS[4]) or nil) or -math.huge)
    if age >= 0 and age < tonumber(ARGV[4]) then return {} end
end
if background_seconds() > tonumber(ARGV[5]) then return {} end
redis.call('HSETNX', SYNC, 'began', string.format('%.6f', now))
redis.call('HSET', SYNC, 'list', ARGV[7], 'token', ARGV[2], 'running_until', now + ARGV[3])
redis.call('EXPIRE', SYNC, ARGV[6])
return redis.call('HGETALL', SYNC)
