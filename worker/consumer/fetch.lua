-- Fetch messages with as many events as there is room for, the last one perhaps with more, and as many bytes as a reply should
-- have. A message is noted as in hand first and then taken from the queue. Comes after gate.lua and poison.lua.
-- KEYS 3: the queue, 4: index of what is in hand, 5: what is in hand, 6: the last stamp; 7 and 8, if there are limits: the
-- dead-letter queue and the counts of its letters.
-- ARGV 2: events at most, 3: what the delivery tags begin with, 4: bytes that the reply should have at most; then, if there are
-- limits: those, and how many messages the worker has in hand.
-- Returns {seconds after which to look again if nothing may be fetched, messages, events of each that are paid for, delivery tags},
-- and, if there are limits, what was put aside.
local allowed, wait = allowance(tonumber(ARGV[2]))
local taken, counts, tags, events, bytes = {}, {}, {}, 0, 0
local stamped_until = nil

-- A message that does not say when it was enqueued counts from when it was first taken, and so does one that says an impossible
-- time. That is noted in its text, where it outlives whatever becomes of the worker. No two such events have the same stamp.
local function stamped(message, events)
    local said = tonumber(string.match(message, '"enqueued_at":%s*([%d.eE+-]+)') or nil)
    if said and said <= now + 1 or string.find(message, '^%s*{"signal_taken_at":') then return message end
    if returns_of(message) > 0 then return message end
    local before, rest = string.match(message, '^(%s*){(%s*".*)$')
    if not rest then return message end
    stamped_until = stamped_until or tonumber(redis.call('GET', KEYS[6]) or 0)
    local stamp = math.max(now, stamped_until + 0.000001)
    -- The events of a bundle have a microsecond each. One that does not say how many it has is given room for a thousand.
    if events == 1 and string.find(message, 'signal.deliver_many', 1, true) then events = 1000 end
    stamped_until = stamp + (events - 1) * 0.000001
    return before .. string.format('{"signal_taken_at":%.6f,', stamp) .. rest
end

local moment = string.format('%d.%06d.', time[1], time[2])
while events < allowed and bytes < tonumber(ARGV[4]) do
    local message = fit(#taken, bytes)
    if not message then break end
    -- A first guess, from whatever wrote the message; what is paid too much for it is paid back once it is read.
    local count = tonumber(string.match(message, '"events":%s*(%d+)')) or 1
    count = math.max(1, math.min(count, 10000))
    message = stamped(message, count)
    local tag = moment .. ARGV[3] .. string.format('.%06d', #taken)
    redis.call('ZADD', KEYS[4], now, tag)
    redis.call('HSET', KEYS[5], tag, message)
    redis.call('RPOP', KEYS[3])
    taken[#taken + 1], tags[#tags + 1] = message, tag
    counts[#taken] = count
    events = events + counts[#taken]
    bytes = bytes + #message
    if is_alone(message) then break end
end
if stamped_until then redis.call('SET', KEYS[6], string.format('%.6f', stamped_until), 'EX', 86400) end
-- What the last one has beyond what was allowed is not paid for yet.
if events > allowed then counts[#taken] = counts[#taken] - (events - allowed) end
charge(math.min(events, allowed) * rules.event_cost)
if not limits then return {tostring(wait), taken, counts, tags} end
return {tostring(math.max(wait, next_look)), taken, counts, tags, aside}
