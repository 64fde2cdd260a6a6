-- Store the progress of a sync, or erase it if the sync is complete.
-- If another sync was begun meanwhile, nothing is stored: that sync has not read the pages before
-- this cursor.
-- KEYS 1: sync.
-- ARGV 1: when this sync began, 2: seconds that the progress lives; then fields and values, none if
--   the sync is complete.
-- Returns 1, or 0 if another sync was begun meanwhile.
if redis.call('HGET', KEYS[1], 'began') ~= ARGV[1] then return 0 end
if #ARGV == 2 then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
