-- Store the progress of a sync and renew its lease, or erase it if the sync is complete.
-- If another process has the sync by now, nothing is stored: it may have begun anew, and not have
-- read the pages before this cursor.
-- KEYS 1: sync.
-- ARGV 1: token of the lease, 2: seconds that the progress lives, 3: seconds of the lease; then
--   fields and values, none if the sync is complete.
-- Returns 1, or 0 if another process has the sync by now.
local SYNC = KEYS[1]
if redis.call('HGET', SYNC, 'token') ~= ARGV[1] then return 0 end
if #ARGV == 3 then return redis.call('DEL', SYNC) end
local time = redis.call('TIME')
redis.call('HSET', SYNC, 'running_until', time[1] + time[2] / 1000000 + ARGV[3], unpack(ARGV, 4))
redis.call('HDEL', SYNC, 'failures', 'resume_at')
redis.call('EXPIRE', SYNC, ARGV[2])
return 1
