-- Remove dead letters, and put their messages on the queue if this is a replay. A call repeated
-- because its reply was lost returns the first call's answer.
-- KEYS 1: Keys.dead_letters, 2: Keys.dead_letter_counts, 3: Keys.queue, 4: Keys.removed, for the
--   first call's answer.
-- ARGV: of each letter its index, its text, its reason, and the message to put on the queue, or ''.
-- Returns how many letters were removed.
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
