-- Atomic fetch: move the oldest messages from the queue to those in flight, until they have as many
-- events as room and pace allow, or as many bytes as a reply should have. The last one may have
-- more events; one that has to be alone ends the fetch. Each message is noted as in flight first,
-- then removed from the queue: a script that fails between the two repeats a message and loses
-- none. Comes after gate.lua and poison.lua.
-- KEYS 1: Keys.hold, 2: Keys.pace, 3: Keys.queue, 4: Keys.in_flight_index, 5: Keys.in_flight,
-- 6: Keys.fetched_at; only with limits 7: Keys.dead_letters, 8: Keys.dead_letter_counts.
-- ARGV 1: the gate's rules as JSON, 2: events to fetch, 3: the mark of the fetch, 4: bytes of the
-- reply; only with limits 5: the limits as JSON, 6: messages that the worker has in hand.
-- Returns {seconds after which to look again if nothing may be fetched, else 0; messages; charged
-- events of each message; delivery tags}; with limits also reason and id of each message put aside.
local allowed, wait = allowance(tonumber(ARGV[2]))
local messages, counts, tags, events, bytes = {}, {}, {}, 0, 0
local now_microseconds = time[1] * 1000000 + time[2]
local stamped_until = nil

-- Return the first number that follows `name` in the message's text, or nil. `digits` is the class
-- of its characters. To look for plain text is much faster than for a pattern, which is tried at
-- each of thousands of characters.
local function number_after(message, name, digits)
    local _, last = string.find(message, name, 1, true)
    while last do
        local number = string.match(message, '^%s*(' .. digits .. '+)', last + 1)
        if number then return tonumber(number) end
        _, last = string.find(message, name, last + 1, true)
    end
end

local function in_seconds(microseconds)
    return string.format('%d.%06d', math.floor(microseconds / 1000000), microseconds % 1000000)
end

-- Return the message, stamped with the time of its first fetch if it does not say when it was
-- enqueued, or says a time in the future. The stamp is part of the message's text, so it is kept if
-- the worker dies. A message that came back keeps its text. No two stamped events have the same
-- time: it is counted in whole microseconds, since sums of fractions of a second are rounded.
local function stamped(message, events)
    local enqueued_at = number_after(message, '"enqueued_at":', '[%d.eE+-]')
    local is_stamped = string.find(message, '^%s*{"signal_fetched_at":')
    if is_stamped or enqueued_at and enqueued_at <= now + 1 then return message end
    if returns_of(message) > 0 then return message end
    local before, rest = string.match(message, '^(%s*){(%s*".*)$')
    if not rest then return message end
    stamped_until = stamped_until or math.floor((redis.call('GET', KEYS[6]) or 0) * 1000000 + 0.5)
    local stamp = math.max(now_microseconds, stamped_until + 1)
    -- Each event of a bundle has a microsecond. A bundle without a count gets a thousand.
    if events == 1 and string.find(message, 'signal.deliver_many', 1, true) then events = 1000 end
    stamped_until = stamp + events - 1
    return before .. '{"signal_fetched_at":' .. in_seconds(stamp) .. ',' .. rest
end

local moment = string.format('%d.%06d.', time[1], time[2])
while events < allowed and bytes < tonumber(ARGV[4]) do
    local message = fit(#messages, bytes)
    if not message then break end
    -- An estimate: the first count in the message's text. The worker refunds what it does not need.
    local count = number_after(message, '"events":', '%d') or 1
    count = math.max(1, math.min(count, 10000))
    message = stamped(message, count)
    local tag = moment .. ARGV[3] .. string.format('.%06d', #messages)
    redis.call('ZADD', KEYS[4], now, tag)
    redis.call('HSET', KEYS[5], tag, message)
    redis.call('RPOP', KEYS[3])
    messages[#messages + 1], tags[#tags + 1] = message, tag
    counts[#messages] = count
    events = events + counts[#messages]
    bytes = bytes + #message
    if is_alone(message) then break end
end
if stamped_until then
    redis.call('SET', KEYS[6], in_seconds(stamped_until), 'EX', 86400)
end
-- Events of the last message beyond what was allowed are not charged yet.
if events > allowed then counts[#messages] = counts[#messages] - (events - allowed) end
charge(math.min(events, allowed) * rules.event_cost)
if not limits then return {tostring(wait), messages, counts, tags} end
return {tostring(math.max(wait, next_look)), messages, counts, tags, aside}
