-- Put the messages of some fetches back at the front of their queue, the newest first, so that the
-- oldest ends up in front. This counts as no return. Comes after in_flight.lua.
-- KEYS as for in_flight.lua.
-- ARGV: the marks of the fetches; each is part of the delivery tags of its messages.
-- Returns how many messages were found.
local tags = {}
for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    for _, fetch in ipairs(ARGV) do
        if string.find(tag, '.' .. fetch .. '.', 1, true) then tags[#tags + 1] = tag end
    end
end
table.sort(tags, function(one, other) return one > other end)
for _, tag in ipairs(tags) do put_back(tag, 'RPUSH', false) end
return #tags
