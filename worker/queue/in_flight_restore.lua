-- Put messages whose visibility timeout has ended back at the front of their queue; each counts one
-- more return. The newest go first, so that the oldest ends up in front. Comes after in_flight.lua.
-- KEYS as for in_flight.lua.
-- ARGV 1: the visibility timeout in seconds, 2: messages at most.
-- Returns how many messages were put back.
local time = redis.call('TIME')
local overdue = time[1] + time[2] / 1000000 - tonumber(ARGV[1])
local tags = redis.call('ZRANGE', KEYS[2], overdue, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])
table.sort(tags, function(one, other) return one > other end)
local restored = 0
for _, tag in ipairs(tags) do
    if put_back(tag, 'RPUSH', true) then restored = restored + 1 end
end
return restored
