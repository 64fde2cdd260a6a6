-- Token bucket: its rate is set by the operator, learned from 429s, and ramped up after a hold.
-- Every script that asks the gate, or reports to it, begins with this file, lessons.lua,
-- throttling.lua and gate.lua.
-- KEYS 1: Keys.hold, 2: Keys.pace.
-- ARGV 1: the rules as JSON (GateConfig in config.py).
-- Returns nothing: it defines functions.
local HOLD, PACE, rules = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

-- Return a field of a hash as a number, nil if it is missing.
local function number(key, field) return tonumber(redis.call('HGET', key, field) or nil) end

-- Extend the life of Keys.pace beyond the hold, because the ramp after the hold needs it.
local function keep_pace()
    local ahead = math.max(0, (number(PACE, 'ramp_from') or 0) - now)
    redis.call('EXPIRE', PACE, rules.pace_lives + math.ceil(ahead))
end

-- Begin a ramp at `moment`: `rate` requests a second, doubled each second for ten seconds.
local function ramp_from(moment, rate)
    redis.call('HSET', PACE, 'ramp_from', moment, 'ramp_rate', rate, 'tokens', 1, 'at', moment)
    keep_pace()
end

-- Return the seconds after a lesson until the rate is back at what Mailgun let through. They are
-- fewer if the turns of its windows are known: a window is used fully, a higher limit shows sooner.
local function back_within()
    return number(PACE, 'turn_seen') and rules.window / 2 or rules.back_within
end

-- Return the rate that 429s taught, nil without one; and the seconds since then.
-- It follows TCP CUBIC's curve (RFC 9438). It starts at nine tenths of the rate that Mailgun was
-- seen to let through, is back at that rate within `back_within` seconds, and stays near it for as
-- long again. Then it grows faster and faster, so that a lifted limit is used again: double after
-- 130 seconds, or after 95 if the turns of windows are known.
local function learned_rate()
    local limit = number(PACE, 'limit')
    if not limit then return nil, 0 end
    local age, back = math.max(0, now - number(PACE, 'limit_at')), back_within()
    local grown = limit * (1 + 0.1 * ((age - back) / back) ^ 3)
    if grown >= rules.fastest_rate then return nil, age end
    return math.max(rules.slowest_rate, grown), age
end

-- Requests that passed are counted by the second, as far back as two windows.
local SECONDS = 2 * rules.window + 5

-- Return the requests that Mailgun let through since a moment, and before another one if it is
-- given; as far back as they are counted.
local function passed_since(moment, before)
    local last, fields = number(PACE, 'second') or 0, {}
    local final = before and math.min(last, math.floor(before) - 1) or last
    for each = math.max(math.floor(moment), last - SECONDS + 1), final do
        fields[#fields + 1] = 'in:' .. each % SECONDS
    end
    if #fields == 0 then return 0 end
    local passed = 0
    for _, each in ipairs(redis.call('HMGET', PACE, unpack(fields))) do
        passed = passed + (tonumber(each or nil) or 0)
    end
    return passed
end

-- Return when the current window began, of windows of which one began at `turn`.
local function window_began(turn)
    return turn + rules.window * math.floor((now - turn) / rules.window)
end

-- Forget when the windows of Mailgun's limit turn.
local function forget_turns() redis.call('HDEL', PACE, 'turn_at', 'turn_seen', 'is_long') end

-- Forget that windows are long: refusals among requests that pass show another kind of limit.
local function doubt_windows() redis.call('HDEL', PACE, 'is_long') end

-- A turn is noted when the first answer after it is reported, so requests may pass a little before.
local TURN_SLACK = 2

-- Return the requests that have passed in the current window, and those that passed in the one
-- before, which are what a window allows: if the turns are known, windows were seen to be long, and
-- the one before was used. Else return nil.
local function long_window()
    if redis.call('HEXISTS', PACE, 'is_long') == 0 then return nil end
    local turn, shown = number(PACE, 'turn_at'), number(PACE, 'lesson_rate')
    if not (turn and shown) or turn > now then return nil end
    turn = window_began(turn)
    local before = passed_since(turn - rules.window - TURN_SLACK, turn - TURN_SLACK)
    local allowed = math.max(rules.slowest_rate, shown) * rules.window
    if before < 0.9 * allowed then return nil end
    return passed_since(turn), math.max(before, allowed)
end

-- Return the rate within a long window, nil outside of one. It is half as fast again as the window
-- allows on average: a burst waits less, and a limit that was lifted shows while there is time to
-- use it. Once more has passed than the window allowed, the rate doubles with each twentieth of
-- that, up to four times. So a doubled limit is used up in its first window.
local function window_rate()
    local passed, allowed = long_window()
    if not passed then return nil end
    local beyond = math.max(0, passed / allowed - 1)
    return 1.5 * allowed / rules.window * math.min(4, 2 ^ (20 * beyond))
end

-- The usual limit is that of Mailgun's documented neighbours of mailing lists: requests a minute of
-- an account. What is under way when a limit is met is refused. So, while no limit is known, few
-- requests are under way near the usual limit: the last before it, and those after it until some
-- have passed. If they get no answer for some seconds, that care is over, because a worker may
-- have died. That it was taken is remembered as long as Keys.pace lives.
local CAREFUL_FROM, BEYOND = rules.usual_limit - 20, rules.usual_limit + 20

-- Return whether so many seconds have passed since a time. One as far ahead was noted before the
-- clock went back.
local function is_over(since, seconds) return math.abs(now - since) >= seconds end

-- Return the requests permitted in a window that began with the first of them; nil if the usual
-- limit does not count.
local function permitted()
    if rules.rate_limit > 0 or number(PACE, 'beyond_usual') or number(PACE, 'limit') then
        return nil
    end
    if is_over(number(PACE, 'window_at') or 0, rules.window) then return 0 end
    return number(PACE, 'permitted') or 0
end

-- Return whether requests near the usual limit are permitted.
local function is_near_usual() return (permitted() or 0) >= CAREFUL_FROM end

-- End the care for the usual limit.
local function go_beyond_usual()
    redis.call('HDEL', PACE, 'permitted', 'window_at', 'window_answered', 'careful_at')
    redis.call('HSET', PACE, 'beyond_usual', 1)
    keep_pace()
end

-- Count permitted requests; a negative count, if they were not made.
local function count_permitted(requests)
    local before = permitted()
    if not before then return end
    if before == 0 then redis.call('HSET', PACE, 'window_at', now, 'window_answered', 0) end
    local after = math.max(0, before + requests)
    redis.call('HSET', PACE, 'permitted', after)
    if requests > 0 then redis.call('HSET', PACE, 'careful_at', now) end
    keep_pace()
end

-- Count answered requests of the window.
local function count_answered(requests)
    if (permitted() or 0) == 0 then return end
    redis.call('HSET', PACE, 'careful_at', now)
    if redis.call('HINCRBY', PACE, 'window_answered', requests) >= BEYOND then
        go_beyond_usual()
    end
end

-- Return the tokens with which an event may be fetched: those of its requests, at least one.
local function fewest_tokens() return math.max(1, rules.event_cost) end

-- Return how many more requests may be permitted because of the usual limit; nil if any number.
local function before_usual_limit()
    local made = permitted()
    if not made then return nil end
    local under_way = math.max(0, made - (number(PACE, 'window_answered') or 0))
    local left = math.max(0, CAREFUL_FROM - made, rules.careful_requests - under_way)
    local too_few = left < fewest_tokens()
    if too_few and is_over(number(PACE, 'careful_at') or now, rules.careful_seconds) then
        go_beyond_usual()
        return nil
    end
    return left
end

-- Return the requests a second that a set rate, a learned one or a ramp allows now; nil if they
-- are not limited.
local function rate()
    local allowed = rules.rate_limit > 0 and rules.rate_limit / 60 or nil
    local learned = window_rate() or learned_rate()
    if learned then allowed = math.min(allowed or learned, learned) end
    local ramping = number(PACE, 'ramp_from')
    if ramping and now - ramping < 10 then
        local ramp = (number(PACE, 'ramp_rate') or rules.first_rate)
            * 2 ^ math.max(0, now - ramping)
        allowed = math.min(allowed or ramp, ramp)
    end
    return allowed
end

-- Fill the bucket up to now. Return its tokens, which are negative in debt, and the rate; nil and
-- nil if requests are not limited. The bucket holds the requests of two seconds, at least those of
-- an event; and no more than those as long as nothing has passed since a 429.
local function refill()
    local allowed = rate()
    if not allowed then return nil, nil end
    local since = math.max(0, now - (number(PACE, 'at') or now))
    local is_probe = number(PACE, 'episode')
    local most = math.max(fewest_tokens(), is_probe and 0 or allowed * 2)
    local left = math.min((number(PACE, 'tokens') or 1) + since * allowed, most)
    redis.call('HSET', PACE, 'tokens', left, 'at', math.max(now, number(PACE, 'at') or now))
    keep_pace()
    return left, allowed
end

-- Take `count` tokens from the bucket; a negative count gives tokens back.
local function charge(count)
    if count == 0 then return end
    count_permitted(count)
    if refill() then redis.call('HINCRBYFLOAT', PACE, 'tokens', -count) end
end
