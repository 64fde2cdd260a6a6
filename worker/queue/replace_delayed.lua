-- Replace a message on the delay queue by another that is due at the same moment, or remove it.
-- KEYS 1: Keys.delayed.
-- ARGV 1: the message, 2: its replacement, or '' for none.
-- Returns 1, or 0 if the message is not delayed.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[1], due, ARGV[2]) end
return 1
