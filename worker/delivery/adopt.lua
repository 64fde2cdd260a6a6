-- Fetch events that waited for members which are free by now: those of a member together, the
-- oldest first. One write serves all events of a member, so they are charged as one event. Each
-- event is noted as in hand first, and then removed from where it waited. If a worker runs the
-- script again with the same token, because the reply was lost, it returns the same events. An
-- event that came back from workers too often to be fetched with others goes to the queue, from
-- which it is fetched alone. Comes after gate.lua.
-- KEYS 1 and 2 as for pace.lua, 3: Keys.in_flight_index, 4: Keys.in_flight, 5: Keys.delayed,
-- 6: Keys.queue, 7: Keys.waiting.
-- ARGV 1 as for pace.lua, 2: Keys.prefix, 3: the token, which makes the tags unique, 4: members at
-- most, 5: events of each at most, 6: bytes of all of them at most, 7: returns from which on a
-- message is fetched alone, 8: 1 if the first message may have more bytes, else 0.
-- Returns for each member its events, each as {message, tag}.
local index, in_hand, delayed, queue, waited_for = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local prefix = ARGV[2]
local LOOKS, LOOK_AGAIN = 200, 1
local moment = string.format('%d.%06d.', time[1], time[2])
local count, bytes = 0, 0

local answer = prefix .. 'adopted:' .. ARGV[3]
local answered = redis.call('GET', answer)
if answered then
    local adopted = cjson.decode(answered)
    for _, events in ipairs(adopted) do
        for i, tag in ipairs(events) do events[i] = {redis.call('HGET', in_hand, tag), tag} end
    end
    return adopted
end

local function is_to_be_alone(message)
    local returns = string.match(message, '^%s*{"signal_returns":(%d+),')  -- as in poison.lua
    return returns and tonumber(returns) >= tonumber(ARGV[7])
end

local function put_on_queue(message)
    if not redis.call('ZSCORE', delayed, message) then return end
    redis.call('RPUSH', queue, message)
    redis.call('ZREM', delayed, message)
end

local function adopt_message(message)
    if is_to_be_alone(message) then return put_on_queue(message) end
    local tag = moment .. ARGV[3] .. string.format('.%06d', count)
    redis.call('ZADD', index, now, tag)
    redis.call('HSET', in_hand, tag, message)
    if redis.call('ZREM', delayed, message) == 1 then
        count = count + 1
        return {message, tag}
    end
    -- The event went on another way, or was erased.
    redis.call('ZREM', index, tag)
    redis.call('HDEL', in_hand, tag)
end

local function has_room(message)
    return bytes + #message <= tonumber(ARGV[6]) or bytes == 0 and ARGV[8] == '1'
end

local function adopt_waiting(waiting)
    local events = {}
    while #events < tonumber(ARGV[5]) do
        local message = redis.call('ZRANGE', waiting, 0, 0)[1]
        if not message or not has_room(message) then break end
        events[#events + 1] = adopt_message(message)
        redis.call('ZREM', waiting, message)
        bytes = bytes + #message
    end
    return events
end

local adopted = {}
local allowed = allowance(tonumber(ARGV[4]))
if allowed < 1 then return adopted end
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', waited_for, '-inf', now, 'LIMIT', 0, LOOKS)) do
    if #adopted >= allowed or bytes >= tonumber(ARGV[6]) then break end
    local waiting = prefix .. 'waiting:' .. digest
    if redis.call('EXISTS', prefix .. 'lock:' .. digest) == 0 then
        local events = adopt_waiting(waiting)
        if #events > 0 then adopted[#adopted + 1] = events end
    end
    if redis.call('EXISTS', waiting) == 1 then
        redis.call('ZADD', waited_for, now + LOOK_AGAIN, digest)
    else
        redis.call('ZREM', waited_for, digest)
    end
end
charge(#adopted * rules.event_cost)
if #adopted > 0 then
    local tags = {}
    for number, events in ipairs(adopted) do
        tags[number] = {}
        for i, each in ipairs(events) do tags[number][i] = each[2] end
    end
    redis.call('SET', answer, cjson.encode(tags), 'EX', 60)
end
return adopted
