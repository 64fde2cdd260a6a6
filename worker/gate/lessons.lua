-- Lessons: how the token bucket learns a limit from what Mailgun let through, and what it refused.
-- Comes after pace.lua. Returns nothing: it defines functions.

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
        doubt_windows()
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
    shown = math.max(rules.slowest_rate, shown)
    begin_lesson()
    redis.call('HDEL', PACE, 'in_vain')
    redis.call('HSET', PACE, 'lesson_rate', shown)
    set_limit(shown)
end

-- Raise the limit if more has passed in a long window than was known to be allowed.
local function note_lifted()
    local passed, allowed = long_window()
    if not passed then return end
    local known = math.max(allowed, (number(PACE, 'limit') or 0) * rules.window)
    if passed > 1.05 * known then set_limit(passed / rules.window) end
end

-- Return whether the last lesson is five seconds old, so that enough requests to learn from came.
local function can_learn() return now - (number(PACE, 'lesson_at') or now) >= 5 end
