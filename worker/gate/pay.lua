-- Charge one background request, if it may be sent now. Comes after payable.lua.
-- KEYS and ARGV as for pace.lua.
-- Returns {seconds to wait, 0 if the request was charged; the current time, epoch seconds}.
local wait = payable()
if wait == 0 and tokens() then
    charge(1)
    redis.call('HSET', PACE, 'paid_at', now)
end
return {tostring(wait), string.format('%.6f', now)}
