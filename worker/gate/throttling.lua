-- Holds of 429s: what begins, lengthens and ends them. Comes after lessons.lua.
-- Returns nothing: it defines functions.

-- Return the seconds until the window in which the 429s began is over, infinite if it is by now.
local function until_next_window()
    local over = (number(PACE, 'episode_at') or now) + rules.window + 2 * rules.jitter
    return over > now and over - now or math.huge
end

-- Return when the window turns that the 429s show to be used up, nil if they show none. Until then
-- no request passes, so none is sent to try. Near the usual limit three in a row show it: if the
-- window of Mailgun's began with our first request, it turns a moment later, and one refused try
-- tells so. From then on the turns are known. A single 429 shows the end of a window after about as
-- many requests as it allows, and five in a row after a good part of them: the limit is lower, and
-- a window of a few seconds would have turned meanwhile. Three are enough if the window is long.
local function next_turn()
    local row, window = number(PACE, 'row') or 0, rules.window
    if row >= 3 and is_near_usual() then return number(PACE, 'window_at') + window - 0.5 end
    local turn = number(PACE, 'turn_at')
    if not turn or noise() >= 0.005 then return nil end
    if turn > now then return turn <= now + window and turn or nil end  -- else the clock went back
    if (number(PACE, 'episode_at') or now) < turn then  -- tried again at that turn, and refused
        if now - turn >= rules.silence then forget_turns() end
        return nil
    end
    if not number(PACE, 'turn_seen') then return nil end
    turn = window_began(turn)
    local shown = number(PACE, 'lesson_rate') or math.huge
    local share = passed_since(turn) / (window * math.max(shown, number(PACE, 'limit') or 0))
    local enough = number(PACE, 'is_long') and 3 or 5
    return (share >= 0.9 or share >= 0.3 and row >= enough) and turn + window or nil
end

-- Take in a 429. The first one begins a hold, unless it comes alone and without a hint: other users
-- of the account may have caused that one. Later ones, of requests already under way, can only
-- lengthen the hold.
local function note_throttling(seconds, why)
    count(0, 1)
    redis.call('HINCRBY', PACE, 'row', 1)
    local limited = many_refused()
    if limited then redis.call('HSET', PACE, 'limited', 1) end
    local stands, asked = number(HOLD, 'not_before') or 0, seconds > 0 and now + seconds or 0
    local turn = seconds == 0 and next_turn() or nil
    redis.call('HSET', PACE, 'refused_at', now)
    if turn then
        redis.call('HSET', PACE, 'limited', 1, 'turn_at', turn, 'ramp_rate', rules.first_rate)
        -- If a try at the turn is refused, it came a moment early, so the next one follows soon.
        redis.call('HDEL', PACE, 'throttles')
        limited, asked = true, turn
    end
    if stands > now then
        if asked > stands then
            redis.call('HSET', HOLD, 'not_before', asked)
            ramp_from(asked, number(PACE, 'ramp_rate') or rules.first_rate)
        end
        return ''
    end
    local alone = redis.call('HINCRBY', PACE, 'episode', 1) == 1
    if alone then
        redis.call('HSET', PACE, 'episode_at', now)
        if not turn and (limited or back_at_limit()) and can_learn() then
            if limited then doubt_windows() end
            learn()
        else
            redis.call('HINCRBY', PACE, 'refused_slower', 1)
        end
        keep_pace()
        if asked == 0 then return '' end
    end
    local times = redis.call('HINCRBY', PACE, 'throttles', 1)
    local backoff = math.min(rules.max_delay, rules.base / 8 * 2 ^ math.min(times - 1, 32))
        * (0.5 + rules.jitter / 2)
    local length = asked > now and asked - now or math.min(backoff, until_next_window())
    local ends = now + length
    redis.call('HSET', HOLD, 'not_before', ends, 'throttled_since', now, 'throttled_why', why,
        'read_at', now + rules.believed)
    local shows_limit = limited or number(PACE, 'limit')
    local brief = times == 1 and length <= 60 and (seconds > 0 or not shows_limit)
    ramp_from(ends, math.max(rules.first_rate, brief and recent_rate() or 0))
    return 'throttled'
end

-- Take in requests that Mailgun let through. If they end an episode of 429s that showed a limit,
-- the limit is learned.
local function note_passed(requests)
    if requests <= 0 then return end
    count_passed(requests)
    note_lifted()
    local refused = number(PACE, 'row') or 0
    redis.call('HDEL', PACE, 'row')
    -- An answer to a request sent before a 429 does not show that the wait was long enough.
    if (number(HOLD, 'not_before') or 0) > now or not number(PACE, 'episode') then return end
    local silence = now - (number(PACE, 'episode_at') or now)
    local limited = redis.call('HEXISTS', PACE, 'limited') == 1
    if silence >= rules.silence and (limited or refused >= 3) then
        learn_window(requests, refused)
    elseif limited and can_learn() then
        doubt_windows()
        learn()
    end
    local is_shown = silence >= rules.silence or number(PACE, 'turn_at') and refused >= 3
    if is_shown and now - (number(PACE, 'refused_at') or 0) <= 2 then
        redis.call('HSET', PACE, 'turn_at', now, 'turn_seen', 1)
        if silence < rules.silence then doubt_windows() end
        if silence >= 0.75 * rules.window then redis.call('HSET', PACE, 'is_long', 1) end
    end
    redis.call('HDEL', PACE, 'throttles', 'episode', 'episode_at')
end

-- End a 429's hold before its time.
local function end_throttling()
    redis.call('HDEL', HOLD, 'not_before', 'throttled_since', 'throttled_why', 'read_at')
    redis.call('HDEL', PACE, 'throttles', 'episode', 'episode_at', 'row')
    forget_turns()
    ramp_from(now, rules.first_rate)
end
