-- Take dead letters away. Told again because the reply was lost, it answers as it did.
-- KEYS 1: the dead-letter queue, 2: counts by reason, 3: the queue, 4: the answer of the first time.
-- ARGV: of each letter where it lay, its text, its reason, and what goes onto the queue instead; an empty text purges.
-- Returns how many were taken away.
local answered = redis.call('GET', KEYS[4])
if answered then return tonumber(answered) end
local done = 0
for i = 1, #ARGV, 4 do
    local place, letter, reason, again = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local found = redis.call('LINDEX', KEYS[1], place) == letter
    if found then
        redis.call('LSET', KEYS[1], place, '')
    else
        found = redis.call('LREM', KEYS[1], -1, letter) == 1
    end
    if found then
        local left = redis.pcall('HINCRBY', KEYS[2], reason, -1)
        if type(left) ~= 'number' or left <= 0 then redis.call('HDEL', KEYS[2], reason) end
        if again ~= '' then redis.call('LPUSH', KEYS[3], again) end
        done = done + 1
    end
end
redis.call('LREM', KEYS[1], 0, '')
redis.call('SET', KEYS[4], done, 'EX', 60)
return done
