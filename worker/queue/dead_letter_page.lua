-- Read one page of dead letters: as many as the limits allow, and at least one.
-- KEYS 1: Keys.dead_letters.
-- ARGV 1: the first index (-1 is the oldest), 2: the step between indexes, 3: letters at most,
--   4: bytes at most.
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
