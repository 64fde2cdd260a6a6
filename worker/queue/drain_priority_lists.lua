-- Bring messages that were sent with a priority to the back of the queue, each list's oldest first. A list that is none any more,
-- since another program put something else there, is passed over.
-- KEYS 1: the queue; then the lists. ARGV 1: how many messages at most.
-- Returns how many were brought.
local moved = 0
for i = 2, #KEYS do
    while moved < tonumber(ARGV[1]) do
        local message = redis.pcall('LMOVE', KEYS[i], KEYS[1], 'RIGHT', 'LEFT')
        if not message or type(message) == 'table' then break end
        moved = moved + 1
    end
end
return moved
