-- Begin a sync of the whole list, or resume the interrupted one, in place of the process that runs
-- it. One of another list is not resumed. If no worker has noted a list yet, this one is noted.
-- KEYS 1: sync, 2: opt_outs.
-- ARGV 1: 'anew' to begin one in any case, 2: seconds that the progress lives, 3: token of the
--   lease, 4: seconds of the lease, 5: mark of the list.
-- Returns the fields and values of the sync.
local SYNC = KEYS[1]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local is_ours = (redis.call('HGET', SYNC, 'list') or ARGV[5]) == ARGV[5]
if ARGV[1] == 'anew' or not is_ours then redis.call('DEL', SYNC) end
redis.call('HSETNX', SYNC, 'began', string.format('%d.%06d', time[1], time[2]))
redis.call('HSET', SYNC, 'list', ARGV[5], 'token', ARGV[3], 'running_until', now + ARGV[4])
redis.call('EXPIRE', SYNC, ARGV[2])
if redis.call('HSETNX', KEYS[2], 'list', ARGV[5]) == 1 then
    redis.call('HSET', KEYS[2], 'moved_at', redis.call('HGET', SYNC, 'began'))
    redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return redis.call('HGETALL', SYNC)
