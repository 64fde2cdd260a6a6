-- Move the integration's own clock on, and claim the read of the list that is due.
-- KEYS and ARGV as for pace.lua.
-- Returns the hold for whose end this caller is to read the list, or ''.
tick()
return look_due()
