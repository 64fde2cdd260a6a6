-- Put messages on the dead-letter queue. Told again because the reply was lost, it does nothing.
-- KEYS 1: the dead-letter queue, 2: counts by reason, 3: a note that it was done.
-- ARGV: of each letter its text and its reason.
if redis.call('EXISTS', KEYS[3]) == 1 then return end
for i = 1, #ARGV, 2 do
    redis.call('LPUSH', KEYS[1], ARGV[i])
    redis.pcall('HINCRBY', KEYS[2], ARGV[i + 1], 1)  -- a count that another program broke is counted anew
end
redis.call('SET', KEYS[3], '', 'EX', 60)
