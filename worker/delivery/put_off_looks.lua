-- Set when claimed looks are due again, of members that are still marked for a look.
-- KEYS 1: Keys.look_after.
-- ARGV 1: the seconds from now; then the addresses.
-- Returns 1.
local time = redis.call('TIME')
local due = time[1] + time[2] / 1000000 + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', string.format('%.6f', due), ARGV[i]) end
return 1
