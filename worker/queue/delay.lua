-- Put messages on the delay queue.
-- KEYS 1: Keys.delayed.
-- ARGV: of each message the seconds until it is due, and its text.
-- Returns when each is due, in epoch seconds.
local now = redis.call('TIME')
local dues = {}
for i = 1, #ARGV, 2 do
    dues[#dues + 1] = string.format('%.3f', now[1] + now[2] / 1000000 + ARGV[i])
    redis.call('ZADD', KEYS[1], dues[#dues], ARGV[i + 1])
end
return dues
