-- Put delayed messages that are due back at the front of their queue.
-- KEYS 1: Keys.delayed, 2: Keys.queue.
-- ARGV 1: messages at most.
-- Returns how many messages were put back.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, message in ipairs(due) do
    redis.call('RPUSH', KEYS[2], message)
    redis.call('ZREM', KEYS[1], message)
end
return #due
