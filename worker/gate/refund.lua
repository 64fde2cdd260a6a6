-- Refund requests that were charged and not made.
-- KEYS as for pace.lua.
-- ARGV 2: how many; a negative number charges requests that were made and not charged.
-- Returns 1.
charge(-tonumber(ARGV[2]))
return 1
