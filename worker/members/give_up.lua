-- Release the leases of an acquisition whose reply was lost. A lock with another token stays.
-- KEYS 1: look_after, 2: members that events wait for; then of each member its lock.
-- ARGV 1: token.
-- Returns how many members were released that events wait for.
local MEMBERS = 3
local awaited = 0
for i = MEMBERS, #KEYS do
    if redis.call('GET', KEYS[i]) == ARGV[1] then awaited = awaited + release(KEYS[i], KEYS[2]) end
end
note_released(released_key(KEYS[1], ARGV[1]), 'given up', '')
return awaited
