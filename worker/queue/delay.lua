-- Keep messages until each is due.
-- KEYS 1: the delayed messages. ARGV: of each message the seconds until it is due, and the message.
-- Returns when each is due, epoch seconds.
local now = redis.call('TIME')
local dues = {}
for i = 1, #ARGV, 2 do
    dues[#dues + 1] = string.format('%.3f', now[1] + now[2] / 1000000 + ARGV[i])
    redis.call('ZADD', KEYS[1], dues[#dues], ARGV[i + 1])
end
return dues
