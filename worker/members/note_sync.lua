-- Note when the last complete sync began. An earlier time than the noted one changes nothing.
-- The note lives as long as what the sync's first page stored, unless that is used again.
-- KEYS 1: synced.
-- ARGV 1: when the sync began, epoch seconds, 2: seconds that a record lives.
-- Returns 1.
local lives = math.floor(ARGV[2] - (redis.call('TIME')[1] - ARGV[1]))
if lives > 0 and tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or 0) then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', lives)
end
return 1
