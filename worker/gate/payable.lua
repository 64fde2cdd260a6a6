-- When a request besides those of events may be made, such as one for a page of members. Comes after gate.lua.

-- Seconds for which none may, 0 if one may now. It needs no whole token, or many workers would leave it none, but takes every
-- other one at most.
local function payable()
    local wait = held(false)
    local look_at = number(HOLD, 'look_at')
    -- The list should have been read long ago: no worker is there to do it, and a page will do as well.
    local overdue = look_at and now - look_at > rules.longest_unavailable
    if overdue and redis.call('HGET', HOLD, 'kind') == 'unavailable' then wait = held(true) end
    if wait > 0 then return wait end
    local left, allowed = tokens()
    if not left then return 0 end
    return math.max(0, -left / allowed, (number(PACE, 'paid_at') or 0) + 2 / allowed - now)
end
