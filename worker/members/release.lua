-- Store what was learned of members, report Mailgun's answers, and release the members' leases.
-- If a lease has ended, nothing is stored of its member, and the member is marked for a later look.
-- KEYS as for acquire.lua.
-- ARGV 2: token, 3: requests to charge, 4: seconds that a record lives, 5: mark of the list,
--   6: reports as JSON; then of each member seven:
--   record, or '' if it has not changed; copy, or ''; copy_at, or '' for now;
--   seen_at, or '' if the member does not exist;
--   milliseconds until a write without an answer has settled, or '' if there was none;
--   seconds until the next look ('' changes nothing, '0' ends the looks); address.
-- Returns {changes of the hold, indexes of the members whose leases had ended, from 0,
--   how many members were released that events wait for}.
local MEMBERS, FIRST, EACH = 7, 7, 7
local look_after, waited_for, lives = KEYS[5], KEYS[6], ARGV[4]

-- If the caller repeats the release because the reply was lost, the reply is the same.
local released = released_key(look_after, ARGV[2])
local first_member = string.match(KEYS[MEMBERS], '[^:]*$')
local answered = redis.call('HGET', released, first_member)
if answered then return cjson.decode(answered) end

-- A copy of another list than that of the other workers is not kept.
local is_ours = (redis.call('HGET', KEYS[3], 'list') or ARGV[5]) == ARGV[5]

local function look(member, address, seconds)
    redis.call('HSET', member, 'late_at', string.format('%.6f', now))
    redis.call('EXPIRE', member, lives)
    redis.call('ZADD', look_after, now + seconds, address)
    redis.call('EXPIRE', look_after, lives)
end

local function store(member, record, copy, copy_at, seen_at)
    local doubted, yes_at = unpack(redis.call('HMGET', member, 'doubt', 'yes_at'))
    if doubted then
        redis.call('HDEL', member, 'doubt')
    elseif yes_at then
        redis.call('HDEL', member, 'yes_at')
    end
    local fields = {}
    if record ~= '' then fields = {'record', record} end
    if seen_at == '' then
        redis.call('HDEL', member, 'seen_at', 'copy', 'copy_at')
    else
        fields[#fields + 1], fields[#fields + 2] = 'seen_at', seen_at
    end
    if copy ~= '' and is_ours and not doubted then
        if copy_at == '' then copy_at = string.format('%.6f', now) end
        fields[#fields + 1], fields[#fields + 2] = 'copy', copy
        fields[#fields + 1], fields[#fields + 2] = 'copy_at', copy_at
    end
    if #fields > 0 then redis.call('HSET', member, unpack(fields)) end
    redis.call('EXPIRE', member, lives)
    return doubted
end

local lost, awaited = {}, 0
for i = MEMBERS, #KEYS, 2 do
    local lock, member, number = KEYS[i], KEYS[i + 1], (i - MEMBERS) / 2
    local first = FIRST + number * EACH
    local record, copy, copy_at, seen_at, settles, again, address =
        unpack(ARGV, first, first + EACH - 1)
    if redis.call('GET', lock) == ARGV[2] then
        local doubted = store(member, record, copy, copy_at, seen_at)
        if again == '0' then
            redis.call('HDEL', member, 'late_at')
            redis.call('ZREM', look_after, address)
        elseif settles ~= '' then
            look(member, address, again)
        elseif again ~= '' then
            redis.call('ZADD', look_after, now + again, address)
        elseif doubted and redis.call('HEXISTS', member, 'copy') == 1 then
            -- A page showed a "no" meanwhile, which this delivery may have replaced.
            look(member, address, 1)
        end
        if (tonumber(settles) or 0) > 0 then
            -- The lock carries no delivery's token from now on, so no late repeat prolongs it.
            redis.call('SET', lock, ARGV[2] .. ':settles', 'PX', settles)
        else
            awaited = awaited + release(lock, waited_for)
        end
    else
        lost[#lost + 1] = number
        look(member, address, 1)
    end
end
charge(tonumber(ARGV[3]))
local answer = {report_all(cjson.decode(ARGV[6])), lost, awaited}
note_released(released, first_member, cjson.encode(answer))
return answer
