-- Note a sample of a bulk call, or only read what such samples have shown so far.
-- KEYS 1: bulk.
-- ARGV 1: 'held', 'missing', or '' to note nothing; 2: form of the answer; 3: seconds after which
--   the sample was there; 4: why members go alone; 5: the samples that earn trust; 6: seconds of
--   the first suspension; 7: seconds of the longest one; 8: seconds that the state lives.
-- Returns {seconds for which members go alone, 0 if they share calls; seconds since a sample held,
--   -1 if none did; then fields and values}.
local BULK, noted, form = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local FORMS = {'list', 'task', 'other'}

local function number(field) return tonumber(redis.call('HGET', BULK, field) or nil) or 0 end

-- A time too far ahead comes from a clock that was set back, and does not count.
local function alone()
    local left = number('alone_until') - now
    return left <= tonumber(ARGV[7]) and math.max(0, left) or 0
end

-- A sample that was under way when members began to go alone changes nothing.
if alone() > 0 then noted = '' end
if noted == 'held' then
    local held = redis.call('HINCRBY', BULK, 'held:' .. form, 1)
    redis.call('HSET', BULK, 'form', form, 'held_at', now)
    if form ~= 'list' then
        -- It takes a score of samples shown in the first look to forget a delay of seconds.
        local delay = math.max(tonumber(ARGV[3]), 0.8 * number('delay'))
        redis.call('HSET', BULK, 'delay', delay < 0.05 and 0 or delay)
    end
    if held >= tonumber(ARGV[5]) then redis.call('HDEL', BULK, 'missed', 'why', 'alone_until') end
    redis.call('EXPIRE', BULK, ARGV[8])
elseif noted == 'missing' then
    local missed = redis.call('HINCRBY', BULK, 'missed', 1)
    local seconds = math.min(tonumber(ARGV[7]), ARGV[6] * 2 ^ math.min(missed - 1, 32))
    for _, each in ipairs(FORMS) do redis.call('HDEL', BULK, 'held:' .. each) end
    redis.call('HDEL', BULK, 'held_at')
    redis.call('HSET', BULK, 'form', form, 'alone_until', now + seconds, 'why', ARGV[4])
    redis.call('EXPIRE', BULK, ARGV[8])
end
local state, held_at = redis.call('HGETALL', BULK), number('held_at')
table.insert(state, 1, tostring(alone()))
table.insert(state, 2, tostring(held_at > 0 and math.max(0, now - held_at) or -1))
return state
