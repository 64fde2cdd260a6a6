-- Pause the integration until an operator resumes it.
-- KEYS and ARGV as for pace.lua.
-- Returns 1, or 0 if it was paused already.
return redis.call('HSETNX', HOLD, 'paused', now)
