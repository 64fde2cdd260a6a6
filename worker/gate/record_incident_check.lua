-- Report the result of an incident check.
-- KEYS as for pace.lua.
-- ARGV 2: the outcome's kind, 3: seconds of Mailgun's hint, 0 without one, 4: why.
-- Returns the kind of the hold that this began or ended, or ''.
if ARGV[2] == 'unchanged' then return note_list_read() end
return note_list_unread(ARGV[2], tonumber(ARGV[3]), ARGV[4])
