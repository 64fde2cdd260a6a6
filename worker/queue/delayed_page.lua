-- Read one page of delayed messages, the next due first: as many as the limits allow, and at least
-- one. If the last message of the page before has gone, the page begins with those that were due
-- when it was, so a message may be read twice and none is left out.
-- KEYS 1: Keys.delayed.
-- ARGV 1: the last message of the page before, 2: when that one was due; or 1: '', 2: the page
--   begins with those that are due at this moment, 3: messages at most, 4: bytes at most.
-- Returns of each message its text and when it is due, in epoch seconds.
local rank = ARGV[1] ~= '' and redis.call('ZRANK', KEYS[1], ARGV[1])
local start = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
local page, bytes = {}, 0
for i = start, start + ARGV[3] - 1 do
    local found = redis.call('ZRANGE', KEYS[1], i, i, 'WITHSCORES')
    if not found[1] then break end
    bytes = bytes + #found[1]
    if #page > 0 and bytes > tonumber(ARGV[4]) then break end
    page[#page + 1] = found[1]
    page[#page + 1] = found[2]
end
return page
