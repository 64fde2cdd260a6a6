-- Whether Mailgun may be asked: the hold, and what begins and ends it. Comes after pace.lua.

-- Seconds for which nobody may ask, 0 when open. What is under way may finish while Mailgun is merely unavailable.
local function held(under_way)
    local throttled = math.max(0, (number(HOLD, 'not_before') or 0) - now)
    if redis.call('HEXISTS', HOLD, 'paused') == 1 then return rules.until_lifted end
    local kind = redis.call('HGET', HOLD, 'kind')
    if kind == 'incident' then return rules.until_lifted end
    if kind == 'unavailable' and not under_way then
        return math.max(throttled, number(HOLD, 'look_at') - now, rules.look_again)
    end
    return throttled
end

-- How many of `wanted` requests may be made now; those are paid for.
local function granted(wanted)
    if held(true) > 0 then return 0 end
    local left = tokens()
    if not left then return wanted end
    local grants = math.max(0, math.min(wanted, math.floor(left)))
    charge(grants)
    return grants
end

-- How many of `want` events may be taken now, each of which costs `event_cost` requests at first; where none, the seconds after
-- which to look again.
local function allowance(want)
    local wait = held(false)
    if wait > 0 then return 0, wait end
    local left, allowed = tokens()
    if not left then return want, 0 end
    if left < 1 then return 0, (1 - left) / allowed end
    return math.min(want, math.floor(left / rules.event_cost + 0.001)), 0
end

-- The integration's own clock: seconds in which Mailgun might be asked and a worker was there to do so. A hold, a pause, a Redis
-- or workers that are away cost no event its patience.
local function open_seconds()
    local gap = now - (number(HOLD, 'ticked_at') or now)
    local counts = gap > 0 and gap <= rules.longest_tick and held(false) == 0
    return (number(HOLD, 'open_seconds') or 0) + (counts and gap or 0)
end

local function tick() redis.call('HSET', HOLD, 'open_seconds', string.format('%.3f', open_seconds()), 'ticked_at', now) end

-- A hold that a read of the list ends, the first one after `seconds`: a random half to whole of `length`, or just that.
local function begin(kind, why, length, seconds)
    redis.call('HSET', HOLD, 'kind', kind, 'since', now, 'why', why, 'length', length, 'look_at', now + seconds)
    return kind
end

-- Whatever was learned of Mailgun while it was away is past: start slowly, and count failures anew.
local function lift()
    redis.call('HDEL', HOLD, 'kind', 'since', 'why', 'length', 'look_at')
    redis.call('HDEL', PACE, 'failing')
    ramp_from(math.max(now, number(HOLD, 'not_before') or 0), rules.first_rate)
end

-- How often a list that could be read has ended a hold, less the writes that succeeded since: each makes the next hold longer,
-- and fewer members begin it.
local function relapses() return number(HOLD, 'relapses') or 0 end

local function lasting(seconds, longest) return math.min(longest, seconds * 2 ^ math.min(relapses(), 32)) end

-- Whom failures are about since the last success, by sort of failure: {answers, members = {mark = whether it was written}}.
-- A read that succeeds shows nothing of writes, so failures of reads alone are past then.
local function failing() return cjson.decode(redis.call('HGET', PACE, 'failing') or '{}') end

local function members_of(row)
    local members = 0
    for _ in pairs(row and row.members or {}) do members = members + 1 end
    return members
end

local function failed(sort, members, written)
    local rows = failing()
    local row = rows[sort] or {answers = 0, members = {}}
    for _, mark in ipairs(members) do
        if row.members[mark] ~= nil or members_of(row) < rules.most_marks then row.members[mark] = written end
    end
    row.answers = row.answers + (#members > 0 and 1 or 0)
    rows[sort] = row
    redis.call('HSET', PACE, 'failing', cjson.encode(rows))
    keep_pace()
    return members_of(row), row.answers
end

local function past(sorts, written)
    if redis.call('HEXISTS', PACE, 'failing') == 0 then return end
    local rows = failing()
    for _, sort in ipairs(sorts) do
        for mark, was_written in pairs(rows[sort] and rows[sort].members or {}) do
            if written or not was_written then rows[sort].members[mark] = nil end
        end
        if members_of(rows[sort]) == 0 then rows[sort] = nil end
    end
    if next(rows) then redis.call('HSET', PACE, 'failing', cjson.encode(rows)) else redis.call('HDEL', PACE, 'failing') end
end

-- No usable answer. Once that is about many members it begins a hold; one of which alone this is true concerns nobody else.
local function unavailable(why, members, written)
    local failures, answers = failed('unavailable', members, written)
    local again = relapses() > 0
    if redis.call('HEXISTS', HOLD, 'kind') == 1 or answers < (again and 1 or 2) then return '' end
    if failures < (again and rules.unavailable_again or rules.unavailable_members) then return '' end
    local length = lasting(rules.base, rules.longest_relapse)
    return begin('unavailable', why, length, length * (0.5 + rules.chance / 2))
end

-- A refusal. Once it is about many members it is not for what they hold.
local OF_MEMBERS = {rejected = true, unreadable_member = true}  -- may be for what each of them holds
local function refused(kind, why, members, written)
    local sort = OF_MEMBERS[kind] and 'rejected' or 'refused'
    local threshold = sort == 'rejected' and rules.rejected_threshold or rules.incident_threshold
    local refusals = failed(sort, members, written)
    if relapses() > 0 then threshold = math.min(threshold, rules.refused_again) end
    if threshold == 0 or refusals < threshold or redis.call('HGET', HOLD, 'kind') == 'incident' then return '' end
    local length = lasting(rules.incident_probe, rules.longest_probe)
    return begin('incident', why, length, length)
end

-- A 429. A lone one without a hint may be a neighbour's doing, and holds nobody else. The first one of a hold begins it; the
-- others, already under way, can only lengthen it.
local function throttled(seconds, why)
    count(0, 1)
    redis.call('HINCRBY', PACE, 'row', 1)
    local limited = many_refused()
    if limited then redis.call('HSET', PACE, 'limited', 1) end
    local stands = number(HOLD, 'not_before') or 0
    if stands > now then
        if seconds > 0 and now + seconds > stands then
            redis.call('HSET', HOLD, 'not_before', now + seconds)
            ramp_from(now + seconds, number(PACE, 'ramp_rate') or rules.first_rate)
        end
        return ''
    end
    local alone = redis.call('HINCRBY', PACE, 'episode', 1) == 1
    if alone then
        if (limited or back_at_limit()) and can_learn() then
            learn()
        else
            redis.call('HINCRBY', PACE, 'refused_slower', 1)
        end
        keep_pace()
        if seconds == 0 then return '' end
    end
    local times = redis.call('HINCRBY', PACE, 'throttles', 1)
    local backoff = math.min(rules.max_delay, rules.base / 8 * 2 ^ math.min(times - 1, 32)) * (0.5 + rules.chance / 2)
    local length = seconds > 0 and seconds or backoff
    local ends = now + length
    redis.call('HSET', HOLD, 'not_before', ends, 'throttled_since', now, 'throttled_why', why, 'read_at', now + rules.believed)
    local brief = times == 1 and length <= 60
    ramp_from(ends, math.max(rules.first_rate, brief and recent_rate() or 0))
    return 'throttled'
end

-- Mailgun let these through. Where that ends an episode of refusals that showed a limit, it taught the pace.
local function let_through(requests)
    if requests <= 0 then return end
    passed_through(requests)
    redis.call('HDEL', PACE, 'row')
    -- An answer to what was asked before a 429 does not show that the wait after it was long enough.
    if (number(HOLD, 'not_before') or 0) > now or not number(PACE, 'episode') then return end
    if can_learn() and redis.call('HEXISTS', PACE, 'limited') == 1 then learn() end
    redis.call('HDEL', PACE, 'throttles', 'episode')
end

local REFUSALS = {unauthorized = true, list_not_found = true, unexpected_status = true, rejected = true, wrong_member = true,
    unreadable_member = true}

-- What an answer that is no failure to answer shows to be past. Gives what it ended.
local function answered(kind, written)
    past(REFUSALS[kind] and {'unavailable'} or {'unavailable', 'refused', 'rejected'}, written)
    if not written then return '' end
    if kind == 'delivered' and relapses() > 0 then redis.call('HINCRBY', HOLD, 'relapses', -1) end
    if redis.call('HGET', HOLD, 'kind') ~= 'unavailable' then return '' end
    lift()
    return 'available'
end

-- What came of `requests` requests, which were about `members`, by their marks. Gives what this began or ended, for the log.
local function report(kind, requests, seconds, why, members, written)
    if requests == 0 or kind == 'crashed' then return '' end
    if kind == 'unavailable' then return unavailable(why, members, written) end
    let_through(kind == 'throttled' and requests - 1 or requests)
    if kind == 'throttled' then return throttled(seconds, why) end
    local ended = answered(kind, written)
    local began = REFUSALS[kind] and refused(kind, why, members, written) or ''
    return began ~= '' and began or ended
end

-- The same for several answers in the order in which they came. Gives what each began or ended, and why.
local function reported(answers)
    local changes = {}
    for _, answer in ipairs(answers) do
        local change = report(unpack(answer))
        if change ~= '' then changes[#changes + 1] = {change, answer[4]} end
    end
    return changes
end

-- What the list is to be read for now, if anything; whoever is told so does it. Nobody else is for `look_lease` seconds.
local function look_due()
    if redis.call('HEXISTS', HOLD, 'paused') == 1 then return '' end
    if (number(HOLD, 'not_before') or 0) > now then
        if now < (number(HOLD, 'read_at') or 0) then return '' end
        redis.call('HSET', HOLD, 'read_at', now + rules.believed)
        return 'throttled'
    end
    local kind = redis.call('HGET', HOLD, 'kind')
    if not kind or now < number(HOLD, 'look_at') then return '' end
    redis.call('HSET', HOLD, 'look_at', now + rules.look_lease)
    return kind
end

-- What Mailgun asked to wait is over, whatever it said.
local function believe_no_more()
    redis.call('HDEL', HOLD, 'not_before', 'throttled_since', 'throttled_why', 'read_at')
    redis.call('HDEL', PACE, 'throttles', 'episode', 'row')
    ramp_from(now, rules.first_rate)
end

-- The list was read: it is there.
local function list_read()
    let_through(1)
    if (number(HOLD, 'not_before') or 0) > now then
        believe_no_more()
        return 'unthrottled'
    end
    local kind = redis.call('HGET', HOLD, 'kind')
    if not kind then return '' end
    lift()
    redis.call('HINCRBY', HOLD, 'relapses', 1)
    return kind == 'incident' and 'over' or 'available'
end

-- The list could not be read, so what stands goes on.
local function list_unread(kind, seconds, why)
    local waits = (number(HOLD, 'not_before') or 0) > now
    if waits then
        if seconds > 0 then
            redis.call('HSET', HOLD, 'not_before', now + seconds, 'throttled_why', why)
            ramp_from(now + seconds, rules.first_rate)
        end
        return ''
    end
    local stands = redis.call('HGET', HOLD, 'kind')
    local began = kind == 'throttled' and throttled(seconds, why) or ''
    if stands == 'incident' then redis.call('HSET', HOLD, 'look_at', now + rules.incident_probe) end
    if stands ~= 'unavailable' then return began end
    if REFUSALS[kind] and rules.incident_threshold > 0 then return begin('incident', why, rules.incident_probe, rules.incident_probe) end
    local length = math.min(number(HOLD, 'length') * 2, rules.longest_unavailable)
    redis.call('HSET', HOLD, 'length', length, 'look_at', now + length * (0.5 + rules.chance / 2))
    return began
end
