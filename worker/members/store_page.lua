-- Store a page of members. A "no" stands against a "yes" that is not certainly newer, because the
-- page or the copy may lag.
-- KEYS 1: look_after, 2: opt_outs; then of each member its lock and its hash.
-- ARGV 1: the time before the page was requested, epoch seconds, 2: seconds that a record lives,
--   3: seconds by which a page may lag, 4: mark of the list; then of each member its copy ('' if it
--   cannot be read), whether it is subscribed ('true' or 'false'), and its address.
-- Returns 1, or 0 if nothing was stored, because the workers have another list by now.
if (redis.call('HGET', KEYS[2], 'list') or ARGV[4]) ~= ARGV[4] then return 0 end
local look_after, at, lives, lag = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')

local function says_no(copy)
    local readable, held = pcall(cjson.decode, copy)
    return not readable or held[2] == false
end

-- Mark a member for a later look: a delivery wrote it without knowledge of the page's "no".
local function look(key, address)
    local now = string.format('%d.%06d', time[1], time[2])
    redis.call('HSET', key, 'late_at', now)
    redis.call('ZADD', look_after, now, address)
    redis.call('EXPIRE', look_after, lives)
end

-- Store the page's copy in place of the ledger's. If a "no" replaces a "yes", the time of the "yes"
-- is kept as yes_at: it tells whose the "no" is. A "yes" that the page may have been too old to
-- show may have overwritten that "no", so the member is looked at.
local function keep(key, held, held_at, copy, subscribed, address)
    if held and not subscribed and not says_no(held) then
        redis.call('HSET', key, 'yes_at', held_at)
        if at < tonumber(held_at) + lag then look(key, address) end
    end
    redis.call('HSET', key, 'copy', copy, 'copy_at', ARGV[1])
end

for i = 3, #KEYS, 2 do
    local first = 5 + (i - 3) / 2 * 3
    local lock, key = KEYS[i], KEYS[i + 1]
    local copy, subscribed, address = ARGV[first], ARGV[first + 1] == 'true', ARGV[first + 2]
    local held, held_at, seen_at = unpack(redis.call('HMGET', key, 'copy', 'copy_at', 'seen_at'))
    local no_stands = held and subscribed and says_no(held) and at < tonumber(held_at) + lag
    if (tonumber(seen_at or 0)) < at then redis.call('HSET', key, 'seen_at', ARGV[1]) end
    if copy == '' then
        if redis.call('EXISTS', lock) == 1 then redis.call('HSET', key, 'doubt', 1) end
        if not held or tonumber(held_at) < at then redis.call('HDEL', key, 'copy', 'copy_at') end
    elseif redis.call('EXISTS', lock) == 1 then
        redis.call('HSET', key, 'doubt', 1)
        if not subscribed then
            keep(key, held, held_at, copy, subscribed, address)
        elseif not no_stands then
            redis.call('HDEL', key, 'copy', 'copy_at')
        end
    elseif held and tonumber(held_at) >= at then
        if not subscribed and not says_no(held) then
            keep(key, nil, nil, copy, subscribed, address)
            look(key, address)
        end
    elseif not no_stands then
        keep(key, held, held_at, copy, subscribed, address)
    end
    redis.call('EXPIRE', key, lives)
end
return 1
