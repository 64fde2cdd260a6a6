-- When Mailgun may be asked. Every script that asks or reports starts with this; flow.py tells what the keys hold.
-- KEYS 1, 2: hold, pace. ARGV 1: the rules as JSON (flow.py, Rules).
local HOLD, PACE, rules = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local function number(key, field) return tonumber(redis.call('HGET', key, field) or nil) end

-- Seconds for which nobody may ask, 0 when open. What is under way may finish while Mailgun is merely unavailable.
local function held(under_way)
    local throttled = math.max(0, (number(HOLD, 'not_before') or 0) - now)
    if redis.call('HEXISTS', HOLD, 'paused') == 1 then return rules.until_lifted end
    local kind = redis.call('HGET', HOLD, 'kind')
    if kind == 'incident' then return rules.until_lifted end
    if kind == 'unavailable' and not under_way then return math.max(throttled, number(HOLD, 'until') - now) end
    return throttled
end

-- The pace outlives a hold, however long: what ramps up after it must still be there.
local function keep_pace()
    local ahead = math.max(0, (number(PACE, 'ramp_from') or 0) - now)
    redis.call('EXPIRE', PACE, rules.pace_lives + math.ceil(ahead))
end

-- Whatever was learned while Mailgun was away is past: start slowly.
local function ramp_from(moment)
    redis.call('HSET', PACE, 'ramp_from', moment, 'since_ramp', 0, 'tokens', 1, 'at', moment)
    keep_pace()
end

local function lift()
    redis.call('HDEL', HOLD, 'kind', 'since', 'until', 'why', 'length', 'probe', 'probe_at')
    ramp_from(math.max(now, number(HOLD, 'not_before') or 0))
end

-- The rate that 429s taught, nil without any. It grows slowly for two minutes without a 429 (so that Mailgun's limit
-- is met rarely), then doubles every half minute (so that a lifted limit is used again).
local function learned_rate()
    local learned = number(PACE, 'rate')
    if not learned then return nil end
    local age = math.max(0, now - number(PACE, 'rate_at'))
    local grown = learned * (1 + 0.0015 * math.min(age, 120)) * 2 ^ (math.max(0, age - 120) / 30)
    return grown < rules.fastest_rate and grown or nil
end

-- Requests a second allowed now, nil where nothing limits them.
local function rate()
    local allowed = rules.rate_limit > 0 and rules.rate_limit / 60 or nil
    local learned = learned_rate()
    if learned then allowed = math.min(allowed or learned, learned) end
    local ramping = number(PACE, 'ramp_from')
    if ramping and now - ramping < 10 then
        local ramp = 2 * 2 ^ math.max(0, now - ramping)
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

-- How many of `count` requests may be made now; those are paid for.
local function granted(count)
    if held(true) > 0 then return 0 end
    local left = tokens()
    if not left then return count end
    local grants = math.max(0, math.min(count, math.floor(left)))
    charge(grants)
    return grants
end

-- How many of `want` events may be taken now, each of which costs `event_cost` requests at first; where none, the seconds after
-- which to look again; and whether it is a probe.
local function allowance(want)
    local wait = held(false)
    if wait > 0 then return 0, wait, 0 end
    if redis.call('HGET', HOLD, 'kind') == 'unavailable' then
        redis.call('HSET', HOLD, 'until', now + rules.probe_lease, 'probe', 1)
        return 1, 0, 1
    end
    local left, allowed = tokens()
    if not left then return want, 0, 0 end
    if left < 1 then return 0, (1 - left) / allowed, 0 end
    return math.min(want, math.floor(left / rules.event_cost + 0.001)), 0, 0
end

-- The probe turned out to need no request, or there was no event: the next event is the probe.
local function not_a_probe()
    if redis.call('HGET', HOLD, 'kind') == 'unavailable' then redis.call('HSET', HOLD, 'until', now, 'probe', 0) end
end

-- Requests that Mailgun let through: the running minute, and the one before it.
local function let_through(count)
    local minute = math.floor(now / 60)
    local last = number(PACE, 'minute') or 0
    if last ~= minute then
        local before = last == minute - 1 and (number(PACE, 'count') or 0) or 0
        redis.call('HSET', PACE, 'minute', minute, 'before', before, 'count', 0)
        keep_pace()
    end
    if number(PACE, 'ramp_from') then redis.call('HINCRBY', PACE, 'since_ramp', count) end
    return redis.call('HINCRBY', PACE, 'count', count)
end

-- A single 429 teaches nothing but to wait. One more within a minute after the wait shows what Mailgun lets through: nine
-- tenths of the last minute's requests, or of those since the wait, whichever is more a second; in steps of at most a half.
local function learn()
    local current = learned_rate()
    local ramping = number(PACE, 'ramp_from')
    -- Refused as soon as the wait was over: that Mailgun lets nothing through yet says nothing of how much it will.
    if ramping and (number(PACE, 'since_ramp') or 0) < 5 then return end
    local new = current and current * 0.7
    if ramping and now - ramping < 60 then
        local last_minute = let_through(0) + (number(PACE, 'before') or 0) * (1 - (now % 60) / 60)
        local measured = 0.9 * math.max(last_minute / 60, (number(PACE, 'since_ramp') or 0) / math.max(1, now - ramping))
        new = current and math.max(math.min(measured, current * 0.9), current * 0.5) or measured
    end
    if new then redis.call('HSET', PACE, 'rate', math.max(rules.slowest_rate, new), 'rate_at', now) end
end

-- A 429. The first one of a hold begins it and teaches the pace; the others, already under way, can only lengthen it.
local function throttled(seconds, why)
    local stands = number(HOLD, 'not_before') or 0
    if stands > now then
        if seconds > 0 and now + seconds > stands then
            redis.call('HSET', HOLD, 'not_before', now + seconds)
            ramp_from(now + seconds)
        end
        return ''
    end
    learn()
    local times = redis.call('HINCRBY', PACE, 'throttles', 1)
    local backoff = math.min(rules.max_delay, rules.base * 2 ^ math.min(times - 1, 32)) * (0.5 + rules.chance / 2)
    local ends = now + (seconds > 0 and seconds or backoff)
    redis.call('HSET', HOLD, 'not_before', ends, 'throttled_since', now, 'throttled_why', why)
    ramp_from(ends)
    return 'throttled'
end

-- No usable answer. A run of them begins a hold; after its time one event probes, and where that fails it grows.
local function unavailable(why)
    local run = redis.call('HINCRBY', PACE, 'unavailable', 1)
    keep_pace()
    local kind = redis.call('HGET', HOLD, 'kind')
    if kind == 'incident' or (kind and number(HOLD, 'probe') == 0) then return '' end
    if not kind and run < rules.unavailable_run then return '' end
    local length = math.min(kind and number(HOLD, 'length') * 2 or rules.base, rules.longest_unavailable)
    local since = kind and redis.call('HGET', HOLD, 'since') or now
    local ends = now + length * (0.5 + rules.chance / 2)
    redis.call('HSET', HOLD, 'kind', 'unavailable', 'since', since, 'until', ends, 'why', why, 'length', length, 'probe', 0)
    return kind and '' or 'unavailable'
end

-- A refusal that concerns the key or the list, not the event.
local function refused(why)
    local run = redis.call('HINCRBY', PACE, 'refused', 1)
    keep_pace()
    if rules.incident_threshold == 0 or run < rules.incident_threshold then return '' end
    if redis.call('HGET', HOLD, 'kind') == 'incident' then return '' end
    redis.call('HSET', HOLD, 'kind', 'incident', 'since', now, 'why', why, 'probe_at', now + rules.incident_probe)
    return 'incident'
end

-- What came of `requests` requests. Gives what this began or ended, for the log.
local function report(kind, requests, seconds, why)
    if requests == 0 or kind == 'crashed' then return '' end
    if kind == 'unavailable' then return unavailable(why) end
    redis.call('HDEL', PACE, 'unavailable')
    let_through(kind == 'throttled' and requests - 1 or requests)
    local began = kind == 'throttled' and throttled(seconds, why) or ''
    local ended = redis.call('HGET', HOLD, 'kind') == 'unavailable'
    if ended then lift() end
    if kind == 'throttled' then return began end
    -- An answer to what was asked before a 429 does not show that the wait after it was long enough.
    if (number(HOLD, 'not_before') or 0) <= now then redis.call('HDEL', PACE, 'throttles') end
    if kind == 'unauthorized' or kind == 'list_not_found' then
        began = refused(why)
    else
        redis.call('HDEL', PACE, 'refused')
    end
    return began ~= '' and began or ended and 'available' or ''
end

-- The same for several kinds of answers in the order in which they came. Gives what each began or ended, and why.
local function reported(answers)
    local changes = {}
    for _, answer in ipairs(answers) do
        local change = report(answer[1], answer[2], answer[3], answer[4])
        if change ~= '' then changes[#changes + 1] = {change, answer[4]} end
    end
    return changes
end
