-- Release the locks of members that a delivery opened without learning so. A lock with another token is left alone.
-- KEYS: the locks. ARGV 1: the token of the delivery.
-- Returns nothing.
for _, lock in ipairs(KEYS) do
    if redis.call('GET', lock) == ARGV[1] then redis.call('DEL', lock) end
end
