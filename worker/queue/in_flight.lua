-- How a message in flight returns to its queue. Every script that puts messages back begins with
-- this library.
-- KEYS 1: Keys.queue, 2: Keys.in_flight_index, 3: Keys.in_flight.

-- Return the message with one more return noted in its text. A return is counted if the worker that
-- fetched the message did not finish it. poison.lua reads the count.
local function counted(message)
    local before, returns, rest = string.match(message, '^(%s*){"signal_returns":(%d+),(.*)$')
    if not rest then before, rest = string.match(message, '^(%s*){(%s*".*)$') end
    if not rest then return message end
    return before .. string.format('{"signal_returns":%d,', (tonumber(returns) or 0) + 1) .. rest
end

-- Put the message of `tag` back on its queue by the command `push`, and return it. Return false if
-- the tag was acknowledged meanwhile. `counts`: this is one more return.
local function put_back(tag, push, counts)
    local message = redis.call('HGET', KEYS[3], tag)
    local queue = KEYS[1]
    -- Kombu's tags have hyphens. Their messages came from other queues and are stored as
    -- [message, exchange, queue].
    if message and string.find(tag, '-', 1, true) then
        local raw, origin = string.match(message, '^%[(.*), "[^"]*", "([^"]+)"%]$')
        if raw then message, queue = raw, origin end
    elseif message and counts then
        message = counted(message)
    end
    if message then redis.call(push, queue, message) end
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
    return message
end
