-- Put what some takings took back at the front of its queue, the newest first; this counts as no return. Comes after in_flight.lua.
-- KEYS as for in_flight.lua. ARGV: the marks of the takings, each part of their delivery tags.
-- Returns how many messages there were.
local tags = {}
for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    for _, taking in ipairs(ARGV) do
        if string.find(tag, '.' .. taking .. '.', 1, true) then tags[#tags + 1] = tag end
    end
end
table.sort(tags, function(one, other) return one > other end)
for _, tag in ipairs(tags) do put_back(tag, 'RPUSH', false) end
return #tags
