-- How fast Mailgun may be asked: a token bucket whose rate is set, learned from 429s, and ramped up after a hold. Every script
-- that asks or reports starts with this and gate.lua; gate.py tells what the keys hold.
-- KEYS 1, 2: hold, pace. ARGV 1: the rules as JSON (config.py, Rules).
local HOLD, PACE, rules = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local function number(key, field) return tonumber(redis.call('HGET', key, field) or nil) end

-- The pace outlives a hold, however long: what ramps up after it must still be there.
local function keep_pace()
    local ahead = math.max(0, (number(PACE, 'ramp_from') or 0) - now)
    redis.call('EXPIRE', PACE, rules.pace_lives + math.ceil(ahead))
end

-- From `moment` on the flow begins with `rate` requests a second, and doubles each second for ten.
local function ramp_from(moment, rate)
    redis.call('HSET', PACE, 'ramp_from', moment, 'ramp_rate', rate, 'tokens', 1, 'at', moment)
    keep_pace()
end

-- The rate that 429s taught, nil without any; and the seconds since. TCP CUBIC's curve (RFC 9438): from nine tenths of what Mailgun
-- was seen to let through it comes back to that within `back_within` seconds, stays near it for as long again, then grows
-- faster and faster, so that a lifted limit is used again: half as much more after 110 seconds, double after 130.
local function learned_rate()
    local limit = number(PACE, 'limit')
    if not limit then return nil, 0 end
    local age = math.max(0, now - number(PACE, 'limit_at'))
    local grown = limit * (1 + 0.1 * ((age - rules.back_within) / rules.back_within) ^ 3)
    if grown >= rules.fastest_rate then return nil, age end
    return math.max(rules.slowest_rate, grown), age
end

-- Requests a second allowed now, nil where nothing limits them.
local function rate()
    local allowed = rules.rate_limit > 0 and rules.rate_limit / 60 or nil
    local learned = learned_rate()
    if learned then allowed = math.min(allowed or learned, learned) end
    local ramping = number(PACE, 'ramp_from')
    if ramping and now - ramping < 10 then
        local ramp = (number(PACE, 'ramp_rate') or rules.first_rate) * 2 ^ math.max(0, now - ramping)
        allowed = math.min(allowed or ramp, ramp)
    end
    return allowed
end

-- How many more requests may be made now, and how many a second: a bucket of two seconds' worth that may be in debt.
local function tokens()
    local allowed = rate()
    if not allowed then return nil, nil end
    local since = math.max(0, now - (number(PACE, 'at') or now))
    local left = math.min((number(PACE, 'tokens') or 1) + since * allowed, math.max(1, 2 * allowed))
    redis.call('HSET', PACE, 'tokens', left, 'at', math.max(now, number(PACE, 'at') or now))
    keep_pace()
    return left, allowed
end

local function charge(count)
    if count ~= 0 and tokens() then redis.call('HINCRBYFLOAT', PACE, 'tokens', -count) end
end

-- What Mailgun let through and what it refused by 429, as counted lately: each count fades to a third within fifteen seconds.
local function lately()
    local passed, refused, at = unpack(redis.call('HMGET', PACE, 'passed', 'refused', 'counted_at'))
    local fade = math.exp(-math.max(0, now - (tonumber(at or nil) or now)) / 15)
    return (tonumber(passed or nil) or 0) * fade, (tonumber(refused or nil) or 0) * fade
end

local function count(passes, refusals)
    local passed, refused = lately()
    redis.call('HSET', PACE, 'passed', passed + passes, 'refused', refused + refusals, 'counted_at', now)
end

-- Requests that Mailgun let through: in the running minute, in the one before it, and since the last lesson.
local function passed_through(requests)
    local minute = math.floor(now / 60)
    local last = number(PACE, 'minute') or 0
    if last ~= minute then
        local before = last == minute - 1 and (number(PACE, 'count') or 0) or 0
        redis.call('HSET', PACE, 'minute', minute, 'before', before, 'count', 0)
        keep_pace()
    end
    redis.call('HSETNX', PACE, 'lesson_at', now)
    redis.call('HINCRBY', PACE, 'since_lesson', requests)
    redis.call('HINCRBY', PACE, 'count', requests)
    count(requests, 0)
end

local function in_last_minute()
    local minute = math.floor(now / 60)
    local last, share = number(PACE, 'minute') or 0, 1 - (now % 60) / 60
    if last == minute then return (number(PACE, 'count') or 0) + (number(PACE, 'before') or 0) * share end
    return last == minute - 1 and (number(PACE, 'count') or 0) * share or 0
end

-- The share that is refused whatever the pace, as far as is known; half of it is forgotten within ten minutes.
local function noise() return (number(PACE, 'noise') or 0) * 0.5 ^ ((now - (number(PACE, 'noise_at') or now)) / 600) end

-- Do so many refusals lately show a limit? One in twenty does not, nor does chance (two standard deviations), nor one in ten where
-- going slower has not ended them. Four in a row do.
local function many_refused()
    local passed, refused = lately()
    local all = math.max(1, passed + refused)
    local row = number(PACE, 'row') or 0
    local usual = (0.05 + 1.5 * noise()) * all
    return row >= 4 or refused > 3.5 + usual + 2 * math.sqrt(usual), refused / all
end

-- Does a single one? Where it comes as soon as the pace is back at what was shown, and going slower had none.
local function back_at_limit()
    local learned, age = learned_rate()
    return learned and age > rules.back_within and (number(PACE, 'refused_slower') or 0) < 2 and noise() < 0.005
end

-- Going slower, again and again, has let less through and did not end the refusals: they are not for the pace.
local function is_noise(share, shown, passes)
    local _, age = learned_rate()
    local soon = age > 0 and age < rules.back_within
    if soon and shown < 0.95 * (number(PACE, 'lesson_rate') or 0) and passes >= 25 and share < 0.35 then
        return redis.call('HINCRBY', PACE, 'in_vain', 1) >= 3
    end
    redis.call('HDEL', PACE, 'in_vain')
    return false
end

local function since_lesson() return math.max(1, now - (number(PACE, 'lesson_at') or now)) end

-- Requests a second that Mailgun let through lately, which is counted anew after each lesson.
local function recent_rate() return lately() / (15 * (1 - math.exp(-since_lesson() / 15))) end

-- What Mailgun was seen to let through a second, and by how many requests: since the last lesson, or lately where that has grown
-- since; of an older lesson, in the last minute.
local function shown_rate()
    local elapsed, passes = since_lesson(), number(PACE, 'since_lesson') or 0
    if elapsed > 120 then return in_last_minute() / 60, in_last_minute() end
    local recent = recent_rate()
    return recent > 1.15 * passes / elapsed and recent or passes / elapsed, passes
end

-- A limit shows: from now on a little less than what Mailgun was seen to let through.
local function learn()
    local shown, passes = shown_rate()
    local _, share = many_refused()
    redis.call('HSET', PACE, 'lesson_at', now, 'since_lesson', 0, 'passed', 0, 'refused', 0, 'counted_at', now)
    redis.call('HDEL', PACE, 'limited', 'refused_slower')
    if passes < 5 then return end
    if is_noise(share, shown, passes) then
        redis.call('HSET', PACE, 'noise', share, 'noise_at', now)
        redis.call('HDEL', PACE, 'limit', 'limit_at', 'in_vain', 'lesson_rate')
        return
    end
    redis.call('HSET', PACE, 'lesson_rate', shown)
    local current = learned_rate()
    if current then shown = math.max(math.min(shown, current), current / 2) end
    redis.call('HSET', PACE, 'limit', math.max(rules.slowest_rate, shown), 'limit_at', now)
    keep_pace()
end

-- Enough has come since the last lesson to learn from.
local function can_learn() return now - (number(PACE, 'lesson_at') or now) >= 5 end
