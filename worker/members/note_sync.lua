-- Note when the last complete sync began. An earlier time than the noted one changes nothing,
-- unless that one is ahead, because the clock was set back.
-- The note lives as long as what the sync's first page stored, unless that is used again.
-- KEYS 1: synced.
-- ARGV 1: when the sync began, epoch seconds, 2: seconds that a record lives.
-- Returns 1, or 0 if that has expired by now.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local lives = math.floor(ARGV[2] - (now - ARGV[1]))
local noted = tonumber(redis.call('GET', KEYS[1]) or 0)
if lives > 0 and (tonumber(ARGV[1]) > noted or noted > now) then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', lives)
end
return lives > 0 and 1 or 0
