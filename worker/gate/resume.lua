-- Lift a pause, an incident, or a hold for unavailability.
-- KEYS as for pace.lua. ARGV 2: 1 if the wait that Mailgun asked for ends, too, else 0.
-- Returns 1, or 0 if there was nothing to lift.
local lifted = redis.call('HDEL', HOLD, 'paused')
if redis.call('HEXISTS', HOLD, 'kind') == 1 then lifted = 1 end
if lifted == 1 then lift() end
redis.call('HDEL', HOLD, 'relapses')
if ARGV[2] == '1' and (number(HOLD, 'not_before') or 0) > now then
    end_throttling()
    lifted = 1
end
return lifted
