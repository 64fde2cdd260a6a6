-- Read the state of the hold and of the token bucket.
-- KEYS and ARGV as for pace.lua.
-- Returns {fields and values of the hold, seconds for which no event may be fetched, requests a
-- second or '' if they are not limited, now, how many members failures since the last success are
-- about}.
local members = 0
for _, row in pairs(failing()) do members = members + members_of(row) end
return {redis.call('HGETALL', HOLD), tostring(hold_seconds(false)), tostring(rate() or ''),
    tostring(now), members}
