-- Bury messages that no worker may fetch, without reading them: messages that are too large, and
-- poison messages, which came back too often. Comes before fetch.lua.
-- KEYS 3: Keys.queue, 7: Keys.dead_letters, 8: Keys.dead_letter_counts.
-- ARGV 4: bytes that the worker has room for, 5: the limits as JSON, with a dead letter for each
--   reason (without them there is no limit), 6: messages that the worker has in hand.
-- The letter is written before the message is removed: a script that fails between the two repeats
-- a message and loses none.
local limits = ARGV[5] and cjson.decode(ARGV[5]) or nil
local PREFIX = '^(%s*){"signal_returns":(%d+),'
-- Entries of `aside`, two for each message: Redis runs nothing else meanwhile.
local AT_ONCE = 20
local aside, next_look = {}, 0

-- Return how often the message came back from a worker that did not finish it, as in_flight.lua
-- noted in its text.
local function returns_of(message)
    local _, returns = string.match(message, PREFIX)
    return tonumber(returns) or 0
end

-- Return the reason for which the message may not be fetched, or nil.
local function unfit(message)
    if #message > limits.bytes then return 'too_large' end
    if returns_of(message) >= limits.returns then return 'poison_message' end
end

local function put_aside(message, reason)
    local letter = limits.letters[reason]
    local id = string.match(message, '"correlation_id":%s*"(%w[%w._:-]*)"')
        or string.match(message, '"id":%s*"(%w[%w._:-]*)"')
    if not id or #id > 128 then id = redis.sha1hex(message) end
    local answer = limits.answers[reason]
    if reason == 'too_large' then answer = answer .. string.format(' (%d)', #message) end
    letter.headers.id, letter.headers.root_id, letter.properties.correlation_id = id, id, id
    letter.headers.dead_letter.died_at, letter.headers.dead_letter.answer = now, answer
    letter.headers.signal.original_text = string.gsub(message, PREFIX, '%1{', 1)
    redis.call('LPUSH', KEYS[7], cjson.encode(letter))
    redis.pcall('HINCRBY', KEYS[8], reason, 1)
    redis.call('RPOP', KEYS[3])
    aside[#aside + 1] = reason
    aside[#aside + 1] = id
end

-- Return the oldest message that may be fetched, or nil if none may be fetched now. A message that
-- came back twice is fetched alone, so that it harms none if it ends its worker. So is a message
-- for which the worker has no room beside those fetched before it.
local function fit(fetched, bytes)
    local message = redis.call('LINDEX', KEYS[3], -1)
    while limits and message and #aside < AT_ONCE do
        local reason = unfit(message)
        if not reason then break end
        put_aside(message, reason)
        message = redis.call('LINDEX', KEYS[3], -1)
    end
    if not limits or not message then return message end
    if #aside >= AT_ONCE then return nil end
    local alone = returns_of(message) >= limits.alone or bytes + #message > tonumber(ARGV[4])
    if alone and fetched == 0 and tonumber(ARGV[6]) > 0 then next_look = limits.look_again end
    if alone and (fetched > 0 or tonumber(ARGV[6]) > 0) then return nil end
    return message
end

local function is_alone(message) return limits and returns_of(message) >= limits.alone end
