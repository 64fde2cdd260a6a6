-- Read one page of dead letters: as many as the limits allow, and at least one.
-- KEYS 1: Keys.dead_letters.
-- ARGV 1: the first index (-1 is the oldest), 2: the step between indexes, 3: letters at most,
--   4: bytes at most. With step 1 the page does not reach beyond index -1.
-- Returns the letters.
local first, step = tonumber(ARGV[1]), tonumber(ARGV[2])
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
-- Neighbours that are read by one command: finding the place of a letter is what takes time. Few,
-- since their bytes are known only then.
local AT_ONCE = 16
local length = redis.call('LLEN', KEYS[1])

local function read(index, count)
    if step == 1 then return redis.call('LRANGE', KEYS[1], index, index + count - 1) end
    if step ~= -1 then return {redis.call('LINDEX', KEYS[1], index) or nil} end
    local found, reversed = redis.call('LRANGE', KEYS[1], index - count + 1, index), {}
    for i = #found, 1, -1 do reversed[#reversed + 1] = found[i] end
    return reversed
end

local page, bytes = {}, 0
while #page < most do
    local index = first + #page * step
    if index < -length then break end
    local found = read(index, #page == 0 and 1 or math.min(AT_ONCE, most - #page))
    if #found == 0 then break end
    for _, letter in ipairs(found) do
        bytes = bytes + #letter
        if #page > 0 and bytes > room then return page end
        page[#page + 1] = letter
    end
end
return page
