-- Circuit breaker: the hold of the integration, and what begins and ends it. Comes after
-- throttling.lua. Returns nothing: it defines functions.

-- Return the seconds for which no request may be sent, 0 if the integration is not on hold. If
-- `under_way`, requests of fetched events are meant: a hold for unavailability lets them pass.
local function hold_seconds(under_way)
    local throttled = math.max(0, (number(HOLD, 'not_before') or 0) - now)
    if redis.call('HEXISTS', HOLD, 'paused') == 1 then return rules.until_lifted end
    local kind = redis.call('HGET', HOLD, 'kind')
    if kind == 'incident' then return rules.until_lifted end
    if kind == 'unavailable' and not under_way then
        return math.max(throttled, number(HOLD, 'look_at') - now, rules.look_again)
    end
    return throttled
end

-- Charge as many of `wanted` requests as may be sent now. Return their number; and if the rest only
-- waits for the few under way near the usual limit, the seconds after which to ask again, else 0.
local function grant(wanted)
    if hold_seconds(true) > 0 then return {0, '0'} end
    local few, left = before_usual_limit(), refill()
    local paced = left and math.max(0, math.min(wanted, math.floor(left))) or wanted
    local grants = few and math.min(paced, math.floor(few)) or paced
    charge(grants)
    return {grants, tostring(grants < paced and rules.careful_wait or 0)}
end

-- Return how many of `want` events may be fetched now, each of which is to be charged `event_cost`
-- requests; and if none may, the seconds after which to try again, else 0.
local function allowance(want)
    local wait = hold_seconds(false)
    if wait > 0 then return 0, wait end
    local few = before_usual_limit()
    if few and few < fewest_tokens() then return 0, rules.careful_wait end
    local left, allowed = refill()
    if left and left < fewest_tokens() then return 0, (fewest_tokens() - left) / allowed end
    local tokens = math.min(few or math.huge, left or math.huge)
    return math.min(want, math.floor(tokens / rules.event_cost + 0.001)), 0
end

-- Return the integration's own clock: the seconds in which no hold stood and a worker ran. So a
-- hold, a pause, or an outage of Redis or of the workers uses up no event's retry time.
local function open_seconds()
    local gap = now - (number(HOLD, 'ticked_at') or now)
    local counts = gap > 0 and gap <= rules.longest_tick and hold_seconds(false) == 0
    return (number(HOLD, 'open_seconds') or 0) + (counts and gap or 0)
end

-- Move the integration's own clock on.
local function tick()
    redis.call('HSET', HOLD, 'open_seconds', string.format('%.3f', open_seconds()),
        'ticked_at', now)
end

-- Begin a hold that an incident check ends, and return its kind. The first check is due after
-- `seconds`: a random half to whole of `length`, or `length` itself.
local function begin(kind, why, length, seconds)
    redis.call('HSET', HOLD, 'kind', kind, 'since', now, 'why', why, 'length', length,
        'look_at', now + seconds)
    return kind
end

-- End the hold: forget the failures that began it, and ramp up from a slow rate.
local function lift()
    redis.call('HDEL', HOLD, 'kind', 'since', 'why', 'length', 'look_at')
    redis.call('HDEL', PACE, 'failing')
    ramp_from(math.max(now, number(HOLD, 'not_before') or 0), rules.first_rate)
end

-- Return the relapses: how many holds an incident check has ended, less the reports of successful
-- writes since. Each relapse makes the next hold longer. With any, fewer members begin a hold.
local function relapses() return number(HOLD, 'relapses') or 0 end

-- Return `seconds`, doubled for each relapse, at most `longest`.
local function lasting(seconds, longest)
    return math.min(longest, seconds * 2 ^ math.min(relapses(), 32))
end

-- Return the members that failures since the last success are about, by sort of failure:
-- {answers = how many, members = {mark = whether a write of the member failed}}.
local function failing() return cjson.decode(redis.call('HGET', PACE, 'failing') or '{}') end

-- Return how many members a sort of failure is about.
local function members_of(row)
    local members = 0
    for _ in pairs(row and row.members or {}) do members = members + 1 end
    return members
end

-- Note a failure. Return the members that its sort is about by now, and the answers about them.
local function note_failure(sort, members, written)
    local rows = failing()
    local row = rows[sort] or {answers = 0, members = {}}
    for _, mark in ipairs(members) do
        if row.members[mark] ~= nil or members_of(row) < rules.most_marks then
            row.members[mark] = written
        end
    end
    row.answers = row.answers + (#members > 0 and 1 or 0)
    rows[sort] = row
    redis.call('HSET', PACE, 'failing', cjson.encode(rows))
    keep_pace()
    return members_of(row), row.answers
end

-- Forget failures of these sorts after a success. A read that succeeds shows nothing about writes,
-- so it ends only failures of reads.
local function forget_failures(sorts, written)
    if redis.call('HEXISTS', PACE, 'failing') == 0 then return end
    local rows = failing()
    for _, sort in ipairs(sorts) do
        for mark, was_written in pairs(rows[sort] and rows[sort].members or {}) do
            if written or not was_written then rows[sort].members[mark] = nil end
        end
        if members_of(rows[sort]) == 0 then rows[sort] = nil end
    end
    if next(rows) then
        redis.call('HSET', PACE, 'failing', cjson.encode(rows))
    else
        redis.call('HDEL', PACE, 'failing')
    end
end

-- Take in a request without a usable answer. It begins a hold once such requests are about many
-- members. A single member that has no usable answer does not stop the others.
local function note_unavailable(why, members, written)
    local failures, answers = note_failure('unavailable', members, written)
    local again = relapses() > 0
    if redis.call('HEXISTS', HOLD, 'kind') == 1 or answers < (again and 1 or 2) then return '' end
    if failures < (again and rules.unavailable_again or rules.unavailable_members) then
        return ''
    end
    local length = lasting(rules.base, rules.longest_relapse)
    return begin('unavailable', why, length, length * (0.5 + rules.jitter / 2))
end

-- Refusals whose cause may be the content of the member.
local OF_MEMBERS = {rejected = true, unreadable_member = true}

-- Take in a refusal. It begins an incident once refusals are about many members: then the content
-- of the members is not their cause.
local function note_refusal(kind, why, members, written)
    local sort = OF_MEMBERS[kind] and 'rejected' or 'refused'
    local threshold = sort == 'rejected' and rules.rejected_threshold or rules.incident_threshold
    local refusals = note_failure(sort, members, written)
    if relapses() > 0 then threshold = math.min(threshold, rules.refused_again) end
    if threshold == 0 or refusals < threshold or redis.call('HGET', HOLD, 'kind') == 'incident' then
        return ''
    end
    local length = lasting(rules.incident_probe, rules.longest_probe)
    return begin('incident', why, length, length)
end

local REFUSALS = {unauthorized = true, list_not_found = true, unexpected_status = true,
    rejected = true, wrong_member = true, unreadable_member = true}

-- Forget the failures that a usable answer shows to be over. A refusal ends only unavailability, a
-- success ends refusals, too. Return 'available' if the answer ended a hold, else ''.
local function note_answer(kind, written)
    local over = REFUSALS[kind] and {'unavailable'} or {'unavailable', 'refused', 'rejected'}
    forget_failures(over, written)
    if not written then return '' end
    if kind == 'delivered' and relapses() > 0 then redis.call('HINCRBY', HOLD, 'relapses', -1) end
    if redis.call('HGET', HOLD, 'kind') ~= 'unavailable' then return '' end
    lift()
    return 'available'
end

-- Take in a report: the result of `requests` requests, about the members with the marks `members`.
-- Return the kind of the hold change that it made, or ''.
local function report(kind, requests, seconds, why, members, written)
    if requests == 0 or kind == 'crashed' then return '' end
    count_answered(requests)
    if kind == 'unavailable' then return note_unavailable(why, members, written) end
    note_passed(kind == 'throttled' and requests - 1 or requests)
    if kind == 'throttled' then return note_throttling(seconds, why) end
    local ended = note_answer(kind, written)
    local began = REFUSALS[kind] and note_refusal(kind, why, members, written) or ''
    return began ~= '' and began or ended
end

-- Take in reports in the order in which the requests ended. Return {kind, why} of each hold change.
local function report_all(answers)
    local changes = {}
    for _, answer in ipairs(answers) do
        local change = report(unpack(answer))
        if change ~= '' then changes[#changes + 1] = {change, answer[4]} end
    end
    return changes
end

-- Claim the incident check that is due, and return the kind of the hold that it may end, or ''. No
-- other caller gets it for `look_lease` seconds, or `believed` seconds for a 429's hold.
local function claim_check()
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

-- Take in an incident check that could read the list. Return the kind of the hold change, or ''.
local function note_list_read()
    note_passed(1)
    if (number(HOLD, 'not_before') or 0) > now then
        end_throttling()
        return 'unthrottled'
    end
    local kind = redis.call('HGET', HOLD, 'kind')
    if not kind then return '' end
    lift()
    redis.call('HINCRBY', HOLD, 'relapses', 1)
    return kind == 'incident' and 'over' or 'available'
end

-- Take in an incident check that could not read the list, so the hold goes on. Return the kind of
-- the hold change, or ''.
local function note_list_unread(kind, seconds, why)
    local waits = (number(HOLD, 'not_before') or 0) > now
    if waits then
        if seconds > 0 then
            redis.call('HSET', HOLD, 'not_before', now + seconds, 'throttled_why', why)
            ramp_from(now + seconds, rules.first_rate)
        end
        return ''
    end
    local stands = redis.call('HGET', HOLD, 'kind')
    local began = kind == 'throttled' and note_throttling(seconds, why) or ''
    if stands == 'incident' then redis.call('HSET', HOLD, 'look_at', now + rules.incident_probe) end
    if stands ~= 'unavailable' then return began end
    if REFUSALS[kind] and rules.incident_threshold > 0 then
        return begin('incident', why, rules.incident_probe, rules.incident_probe)
    end
    local length = math.min(number(HOLD, 'length') * 2, rules.longest_unavailable)
    redis.call('HSET', HOLD, 'length', length, 'look_at', now + length * (0.5 + rules.jitter / 2))
    return began
end
