-- Note when the last complete sync began. An earlier time than the noted one changes nothing.
-- KEYS 1: synced.
-- ARGV 1: when the sync began, epoch seconds, 2: seconds that the note lives.
-- Returns 1.
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or 0) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return 1
