-- Read a page of dead letters from one place on, -1 being the oldest, step by step: so many letters, or as many as the bytes hold,
-- at least one.
-- KEYS 1: the dead-letter queue.
-- ARGV 1: the first place, 2: the step, 3: letters at most, 4: bytes at most.
-- Returns the letters.
local page, bytes = {}, 0
for i = 0, ARGV[3] - 1 do
    local letter = redis.call('LINDEX', KEYS[1], ARGV[1] + i * ARGV[2])
    if not letter then break end
    bytes = bytes + #letter
    if i > 0 and bytes > tonumber(ARGV[4]) then break end
    page[#page + 1] = letter
end
return page
