-- Begin a sync of the whole list, or resume the interrupted one.
-- KEYS 1: sync.
-- ARGV 1: 'anew' to begin one in any case, 2: seconds that the progress lives.
-- Returns the fields and values of the sync.
local time = redis.call('TIME')
if ARGV[1] == 'anew' then redis.call('DEL', KEYS[1]) end
redis.call('HSETNX', KEYS[1], 'began', string.format('%d.%06d', time[1], time[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
