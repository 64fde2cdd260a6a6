-- Put messages on the dead-letter queue. A call repeated because its reply was lost does nothing.
-- KEYS 1: Keys.dead_letters, 2: Keys.dead_letter_counts, 3: Keys.buried, which marks the call done.
-- ARGV: of each dead letter its text and its reason.
-- Returns nothing.
if redis.call('EXISTS', KEYS[3]) == 1 then return end
for i = 1, #ARGV, 2 do
    redis.call('LPUSH', KEYS[1], ARGV[i])
    -- pcall: if another program broke a count, DeadLetterQueue.totals counts all letters again.
    redis.pcall('HINCRBY', KEYS[2], ARGV[i + 1], 1)
end
redis.call('SET', KEYS[3], '', 'EX', 60)
