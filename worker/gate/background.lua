-- Defines when a background request may be sent, such as one for a page of members, and which times
-- of background work count. Comes after gate.lua.

-- Return the seconds for which no background request may be sent, 0 if one may be sent now. It
-- needs no whole token, because many workers might never leave one. It takes every other token at
-- most.
local function background_seconds()
    local wait = hold_seconds(false)
    local look_at = number(HOLD, 'look_at')
    -- An incident check is long overdue, so no worker runs that could make it: a page replaces it.
    local overdue = look_at and now - look_at > rules.longest_unavailable
    if overdue and redis.call('HGET', HOLD, 'kind') == 'unavailable' then
        wait = hold_seconds(true)
    end
    if wait > 0 then return wait end
    if (before_usual_limit() or 1) < 1 then return rules.careful_wait end
    local left, allowed = refill()
    if not left then return 0 end
    return math.max(0, -left / allowed, (number(PACE, 'paid_at') or 0) + 2 / allowed - now)
end

-- Return true if the time in a field of `key` is ahead by `at_most` seconds or less. A time further
-- ahead comes from a clock that was set back, and does not count.
local function is_ahead(key, field, at_most)
    local left = (number(key, field) or 0) - now
    return left > 0 and left <= at_most
end
