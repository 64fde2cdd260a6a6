-- Token bucket: its rate is set by the operator, learned from 429s, and ramped up after a hold.
-- Every script that asks the gate, or reports to it, begins with this file and gate.lua.
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

-- Return how many more requests may be permitted because of the usual limit; nil if any number.
local function before_usual_limit()
    local made = permitted()
    if not made then return nil end
    local under_way = math.max(0, made - (number(PACE, 'window_answered') or 0))
    local left = math.max(0, CAREFUL_FROM - made, rules.careful_requests - under_way)
    if left < 1 and is_over(number(PACE, 'careful_at') or now, rules.careful_seconds) then
        go_beyond_usual()
        return nil
    end
    return left
end

-- Return the requests a second that a set rate, a learned one or a ramp allows now; nil if they
-- are not limited.
local function rate()
    local allowed = rules.rate_limit > 0 and rules.rate_limit / 60 or nil
    local learned = learned_rate()
    if learned then allowed = math.min(allowed or learned, learned) end
    local ramping = number(PACE, 'ramp_from')
    if ramping and now - ramping < 10 then
        local ramp = (number(PACE, 'ramp_rate') or rules.first_rate)
            * 2 ^ math.max(0, now - ramping)
        allowed = math.min(allowed or ramp, ramp)
    end
    return allowed
end

-- Return the tokens with which an event may be fetched: those of its requests, at least one.
local function fewest_tokens() return math.max(1, rules.event_cost) end

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

-- Requests that passed are counted by the second, as far back as two windows.
local SECONDS = 2 * rules.window + 5

-- Return the recent requests that Mailgun let through, and those that it refused by 429. Each count
-- decays to 1/e, about a third, within fifteen seconds.
local function lately()
    local passed, refused, at = unpack(redis.call('HMGET', PACE, 'passed', 'refused', 'counted_at'))
    local fade = math.exp(-math.max(0, now - (tonumber(at or nil) or now)) / 15)
    return (tonumber(passed or nil) or 0) * fade, (tonumber(refused or nil) or 0) * fade
end

-- Add to both counts.
local function count(passes, refusals)
    local passed, refused = lately()
    redis.call('HSET', PACE, 'passed', passed + passes, 'refused', refused + refusals,
        'counted_at', now)
end

-- Count requests that Mailgun let through: in the current second, and since the last lesson. A
-- lesson is a moment at which `learn` took in a limit.
local function count_passed(requests)
    local second = math.floor(now)
    local last = number(PACE, 'second') or 0
    for each = math.max(last + 1, second - SECONDS + 1), second do
        redis.call('HDEL', PACE, 'in:' .. each % SECONDS)
    end
    if last < second then
        redis.call('HSET', PACE, 'second', second)
        keep_pace()
    end
    redis.call('HINCRBY', PACE, 'in:' .. second % SECONDS, requests)
    redis.call('HSETNX', PACE, 'lesson_at', now)
    redis.call('HINCRBY', PACE, 'since_lesson', requests)
    count(requests, 0)
end

-- Return the requests that Mailgun let through since a moment, as far back as they are counted.
local function passed_since(moment)
    local last, passed = number(PACE, 'second') or 0, 0
    for each = math.max(math.floor(moment), last - SECONDS + 1), last do
        passed = passed + (number(PACE, 'in:' .. each % SECONDS) or 0)
    end
    return passed
end

-- Return the share of requests known to be refused at any rate. It halves every ten minutes.
local function noise()
    return (number(PACE, 'noise') or 0) * 0.5 ^ ((now - (number(PACE, 'noise_at') or now)) / 600)
end

-- Return whether the recent refusals show a limit, and their share. Four in a row show one. Else
-- they must exceed the usual number, one in twenty plus one and a half times the noise, by 3.5 and
-- by two standard deviations.
local function many_refused()
    local passed, refused = lately()
    local all = math.max(1, passed + refused)
    local row = number(PACE, 'row') or 0
    local usual = (0.05 + 1.5 * noise()) * all
    return row >= 4 or refused > 3.5 + usual + 2 * math.sqrt(usual), refused / all
end

-- Return whether a single refusal shows the limit: if it comes once the rate is back at the learned
-- one, after fewer than two refusals at a slower rate, and without noise.
local function back_at_limit()
    local learned, age = learned_rate()
    return learned and age > back_within() and (number(PACE, 'refused_slower') or 0) < 2
        and noise() < 0.005
end

-- Return whether the refusals do not depend on the rate: three times in a row, a slower rate
-- let fewer requests through and did not end the refusals.
local function is_noise(share, shown, passes)
    local _, age = learned_rate()
    local soon = age > 0 and age < back_within()
    if soon and shown < 0.95 * (number(PACE, 'lesson_rate') or 0) and passes >= 25
        and share < 0.35 then
        return redis.call('HINCRBY', PACE, 'in_vain', 1) >= 3
    end
    redis.call('HDEL', PACE, 'in_vain')
    return false
end

-- Return the seconds since the last lesson, at least one.
local function since_lesson() return math.max(1, now - (number(PACE, 'lesson_at') or now)) end

-- Return the requests a second that Mailgun let through recently. Each lesson restarts the count.
local function recent_rate() return lately() / (15 * (1 - math.exp(-since_lesson() / 15))) end

-- Return the requests a second that Mailgun was seen to let through, and the number of requests
-- that show it: since the last lesson, or recently if the rate has grown since; in the last minute
-- if the lesson is more than two minutes old.
local function shown_rate()
    local elapsed, passes = since_lesson(), number(PACE, 'since_lesson') or 0
    if elapsed > 120 then
        local passed = passed_since(now - 60)
        return passed / 60, passed
    end
    local recent = recent_rate()
    return recent > 1.15 * passes / elapsed and recent or passes / elapsed, passes
end

-- Begin to count for the next lesson.
local function begin_lesson()
    redis.call('HSET', PACE, 'lesson_at', now, 'since_lesson', 0, 'passed', 0, 'refused', 0,
        'counted_at', now)
    redis.call('HDEL', PACE, 'limited', 'refused_slower')
end

-- Allow this rate from now on.
local function set_limit(allowed)
    redis.call('HSET', PACE, 'limit', math.max(rules.slowest_rate, allowed), 'limit_at', now)
    keep_pace()
end

-- Learn the limit: from now on, allow a little less than Mailgun was seen to let through. One
-- lesson at most halves the rate. After fewer than five requests, only the counts restart.
local function learn()
    local shown, passes = shown_rate()
    local _, share = many_refused()
    begin_lesson()
    if passes < 5 then return end
    if is_noise(share, shown, passes) then
        redis.call('HSET', PACE, 'noise', share, 'noise_at', now)
        redis.call('HDEL', PACE, 'limit', 'limit_at', 'in_vain', 'lesson_rate')
        return
    end
    redis.call('HSET', PACE, 'lesson_rate', shown)
    local current = learned_rate()
    if current then shown = math.max(math.min(shown, current), current / 2) end
    set_limit(shown)
end

-- Learn the limit of a window: at its turn, requests pass again after `refused` were refused in a
-- row and none passed for some seconds. What passed in the window is exact if no more was tried
-- until its turn; else the window may have begun as early as one before the last refusal. A shorter
-- window is seen if the last lesson is recent. Fewer than three refusals teach no slower rate: what
-- ended the window may have been a refusal at random. The rate becomes a third at least.
local function learn_window(requests, refused)
    local turn, elapsed = number(PACE, 'turn_at'), since_lesson()
    local is_exact = turn and turn <= now and now - turn < rules.silence
    if not is_exact then
        redis.call('HDEL', PACE, 'turn_seen')
        redis.call('HSET', PACE, 'turn_at', now)
    end
    local began = (is_exact and turn - 1 or number(PACE, 'refused_at')) - rules.window
    local shown = (passed_since(began) - requests) / rules.window
    if elapsed < rules.window then
        shown = math.max(shown, ((number(PACE, 'since_lesson') or 0) - requests) / elapsed)
    end
    local before = number(PACE, 'limit')
    if before and not is_exact then shown = math.min(shown, before) end
    if before then shown = math.max(shown, refused < 3 and before or before / 3) end
    begin_lesson()
    redis.call('HDEL', PACE, 'in_vain')
    redis.call('HSET', PACE, 'lesson_rate', shown)
    set_limit(shown)
end

-- Return whether the last lesson is five seconds old, so that enough requests to learn from came.
local function can_learn() return now - (number(PACE, 'lesson_at') or now) >= 5 end
