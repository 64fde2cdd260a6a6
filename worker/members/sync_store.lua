-- Renew the lease of a sync. After a page store its progress, and forget the failures before it; or
-- erase it if the sync is complete.
-- If another process has the sync by now, nothing is stored: it may have begun anew, and not have
-- read the pages before this cursor.
-- KEYS 1: sync.
-- ARGV 1: token of the lease, 2: seconds that the progress lives, 3: seconds of the lease,
--   4: 'page', 'wait' if none may be requested yet, or 'end'; after a page, fields and values.
-- Returns 1, or 0 if another process has the sync by now.
local SYNC = KEYS[1]
if redis.call('HGET', SYNC, 'token') ~= ARGV[1] then return 0 end
if ARGV[4] == 'end' then return redis.call('DEL', SYNC) end
local time = redis.call('TIME')
redis.call('HSET', SYNC, 'running_until', time[1] + time[2] / 1000000 + ARGV[3], unpack(ARGV, 5))
if ARGV[4] == 'page' then redis.call('HDEL', SYNC, 'failures', 'resume_at') end
redis.call('EXPIRE', SYNC, ARGV[2])
return 1
