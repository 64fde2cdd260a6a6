-- Claim members whose later look is due. None is claimed while the integration is on hold.
-- Comes after gate.lua.
-- KEYS 1 and 2 as for pace.lua, 3: Keys.look_after.
-- ARGV 1 as for pace.lua, 2: how many members at most, 3: seconds after which a claim lapses.
-- Returns their addresses.
if hold_seconds(false) > 0 then return {} end
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, address in ipairs(due) do redis.call('ZADD', KEYS[3], now + ARGV[3], address) end
return due
