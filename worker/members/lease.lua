-- What opening, closing and giving up a lease share.

-- The key of what a token has closed. A token that has closed anything opens nothing more: that would be a late copy of a request
-- whose caller has long gone on.
local function closed_key(look_after, token) return (string.gsub(look_after, '[^:]*$', 'closed:')) .. token end

local function note_closed(key, field, answer)
    redis.call('HSET', key, field, answer)
    redis.call('EXPIRE', key, 60)
end

-- Returns 1 if events wait for the member: it is looked at before those that are still busy.
local function release(lock, waited_for)
    redis.call('DEL', lock)
    local digest = string.match(lock, '[^:]*$')
    if not redis.call('ZSCORE', waited_for, digest) then return 0 end
    redis.call('ZADD', waited_for, 0, digest)
    return 1
end
