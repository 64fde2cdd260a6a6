-- Put aside what is not to be taken, as a dead letter and unread: too large a message, and one that no worker has ended.
-- KEYS 3: the queue, 7: the dead-letter queue, 8: its counts.
-- ARGV 5: the limits with a letter for each reason, as JSON, 6: messages in hand. Without them there is no limit.
-- A script that ends between the two steps repeats a message and loses none.
local limits = ARGV[5] and cjson.decode(ARGV[5]) or nil
local PREFIX = '^(%s*){"signal_returns":(%d+),'
local AT_ONCE = 20  -- reasons and ids, two of each message: Redis does nothing else meanwhile
local aside, next_look = {}, 0

-- How often the message came back from a worker that had not ended it: noted in its text, as it was put back.
local function returns_of(message)
    local _, returns = string.match(message, PREFIX)
    return tonumber(returns) or 0
end

local function unfit(message)
    if #message > limits.bytes then return 'too_large' end
    if returns_of(message) >= limits.returns then return 'poison_message' end
end

local function put_aside(message, reason)
    local letter = limits.letters[reason]
    local id = string.match(message, '"correlation_id":%s*"(%w[%w._:-]*)"') or string.match(message, '"id":%s*"(%w[%w._:-]*)"')
    if not id or #id > 128 then id = redis.sha1hex(message) end
    local answer = limits.answers[reason] .. (reason == 'too_large' and string.format(' (%d)', #message) or '')
    letter.headers.id, letter.headers.root_id, letter.properties.correlation_id = id, id, id
    letter.headers.dead_letter.died_at, letter.headers.dead_letter.answer = now, answer
    letter.headers.signal.original_text = string.gsub(message, PREFIX, '%1{', 1)
    redis.call('LPUSH', KEYS[7], cjson.encode(letter))
    redis.pcall('HINCRBY', KEYS[8], reason, 1)
    redis.call('RPOP', KEYS[3])
    aside[#aside + 1] = reason
    aside[#aside + 1] = id
end

-- The oldest message that may be taken, nil where none may be now. One that came back twice is taken alone, so that it can take
-- no other along; and so is one that would be too much together with what is in hand.
local function fit(taken, bytes)
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
    if alone and taken == 0 and tonumber(ARGV[6]) > 0 then next_look = limits.look_again end
    if alone and (taken > 0 or tonumber(ARGV[6]) > 0) then return nil end
    return message
end

local function is_alone(message) return limits and returns_of(message) >= limits.alone end
