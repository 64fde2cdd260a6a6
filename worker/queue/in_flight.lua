-- How a message in flight goes back on its queue. Every script that puts messages back starts with this.
-- KEYS 1: the queue, 2: the index of what is in flight, 3: the messages in flight.

-- A message that came back from a worker that did not end it says in its text how often that was; poison.lua reads it.
local function counted(message)
    local before, returns, rest = string.match(message, '^(%s*){"signal_returns":(%d+),(.*)$')
    if not rest then before, rest = string.match(message, '^(%s*){(%s*".*)$') end
    if not rest then return message end
    return before .. string.format('{"signal_returns":%d,', (tonumber(returns) or 0) + 1) .. rest
end

local function put_back(tag, push, counts)
    local message = redis.call('HGET', KEYS[3], tag)
    local queue = KEYS[1]
    -- Kombu's tags have hyphens. They are of messages that came from other queues, noted as [message, exchange, queue].
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
