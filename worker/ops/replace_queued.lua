-- Replace one message on the queue by another, or erase it.
-- KEYS[1]: the queue.
-- ARGV[1]: the message.
-- ARGV[2]: the number of messages before it when it was read.
-- ARGV[3]: the message that replaces it, or '' to erase it.
-- Returns: the number of messages replaced or erased.
if ARGV[3] == '' then return redis.call('LREM', KEYS[1], -1, ARGV[1]) end
local place = -1 - ARGV[2]
if redis.call('LINDEX', KEYS[1], place) ~= ARGV[1] then
    place = redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1)
end
if not place then return 0 end
redis.call('LSET', KEYS[1], place, ARGV[3])
return 1
