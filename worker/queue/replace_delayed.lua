-- Put another message in the place of a delayed one, due at the same moment, or erase it.
-- KEYS 1: the delayed messages. ARGV 1: the message, 2: the one in its place, or '' for none.
-- Returns 1, or 0 if the message is not delayed.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[1], due, ARGV[2]) end
return 1
