-- Charge one background request, if it may be sent now. Comes after background.lua.
-- KEYS and ARGV as for pace.lua.
-- Returns {seconds to wait, 0 if the request was charged; the current time, epoch seconds}.
local wait = background_seconds()
if wait == 0 then
    charge(1)
    if refill() then redis.call('HSET', PACE, 'paid_at', now) end
end
return {tostring(wait), string.format('%.6f', now)}
