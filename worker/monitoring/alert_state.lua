-- Replace the state of the alerts, if no other worker has done so since it was read.
-- Comes after a write that Redis accepts although its memory is full.
-- KEYS 1: Keys.alerts.
-- ARGV 1: the state as it was read, '' if there was none, 2: the new state,
--   3: seconds that it lives.
-- Returns 1, or 0 if the state is not as it was read.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
