-- Move the integration's own clock on, and claim the incident check that is due.
-- KEYS and ARGV as for pace.lua.
-- Returns the kind of the hold that the check may end, or '' if no check is due.
tick()
return claim_check()
