-- Claim members that are to be looked at again. Nothing is claimed while the integration is held.
-- KEYS 3: look_after. ARGV 2: how many at most, 3: seconds after which a claim that was not followed up ends.
-- Returns their addresses.
if held(false) > 0 then return {} end
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, address in ipairs(due) do redis.call('ZADD', KEYS[3], now + ARGV[3], address) end
return due
