-- Move messages from the delay queue to the front of their queue, or to the dead-letter queue, or
-- remove them. A message that a worker or another command has taken meanwhile is left alone, so
-- each message is in one place at any moment. A call repeated because its reply was lost returns
-- the first call's answer.
-- KEYS 1: Keys.delayed, 2: Keys.queue or Keys.dead_letters, 3: Keys.dead_letter_counts,
--   4: Keys.removed, for the first call's answer.
-- ARGV 1: RPUSH for the front of the queue, LPUSH for the newest dead letter, or '' to remove; then
--   of each message its text, the text to put there, or '' for the same, and the reason to count,
--   or '' for none.
-- Returns how many messages were moved or removed.
local answered = redis.call('GET', KEYS[4])
if answered then return tonumber(answered) end
local push, moved = ARGV[1], 0
for i = 2, #ARGV, 3 do
    local message, instead, reason = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if redis.call('ZSCORE', KEYS[1], message) then
        if push ~= '' then redis.call(push, KEYS[2], instead ~= '' and instead or message) end
        -- pcall: as in bury.lua.
        if reason ~= '' then redis.pcall('HINCRBY', KEYS[3], reason, 1) end
        redis.call('ZREM', KEYS[1], message)
        moved = moved + 1
    end
end
redis.call('SET', KEYS[4], moved, 'EX', 60)
return moved
