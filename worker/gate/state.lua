-- Read the hold and the pace.
-- KEYS and ARGV as for pace.lua.
-- Returns {fields and values of the hold, seconds for which no request may be made, requests a second or '', now,
-- how many members failures are about since the last success}.
local members = 0
for _, row in pairs(failing()) do members = members + members_of(row) end
return {redis.call('HGETALL', HOLD), tostring(held(false)), tostring(rate() or ''), tostring(now), members}
