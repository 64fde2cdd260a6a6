-- Functions that acquire.lua, renew.lua, release.lua and give_up.lua share. It uses no KEYS and no
-- ARGV.

-- Return the key of a token's releases. A token that has released members acquires none any more:
-- such a request is a late repeat that its caller no longer waits for.
local function released_key(look_after, token)
    return string.match(look_after, '^(.*:)') .. 'released:' .. token
end

local function note_released(key, field, answer)
    redis.call('HSET', key, field, answer)
    redis.call('EXPIRE', key, 60)
end

-- Delete a lock. Return 1 if events wait for the member, else 0. Workers fetch those events before
-- the events of members that are still locked.
local function release(lock, waited_for)
    redis.call('DEL', lock)
    local digest = string.match(lock, '[^:]*$')
    if not redis.call('ZSCORE', waited_for, digest) then return 0 end
    redis.call('ZADD', waited_for, 0, digest)
    return 1
end
