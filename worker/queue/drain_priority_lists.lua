-- Move messages from the priority lists to the back of the queue, each list's oldest first. A key
-- that is not a list, since another program stored something else there, is skipped.
-- KEYS 1: Keys.queue; then the lists.
-- ARGV 1: messages at most.
-- Returns how many messages were moved.
local moved = 0
for i = 2, #KEYS do
    while moved < tonumber(ARGV[1]) do
        local message = redis.pcall('LMOVE', KEYS[i], KEYS[1], 'RIGHT', 'LEFT')
        if not message or type(message) == 'table' then break end
        moved = moved + 1
    end
end
return moved
