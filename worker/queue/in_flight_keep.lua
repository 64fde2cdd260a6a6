-- Extend the visibility timeout of messages in flight: it begins anew. A tag that was acknowledged
-- meanwhile is not added again.
-- KEYS 1: Keys.in_flight_index.
-- ARGV: the delivery tags.
-- Returns nothing.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, tag) end
