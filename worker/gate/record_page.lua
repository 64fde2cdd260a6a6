-- Report the result of a request for a page of members.
-- KEYS as for pace.lua.
-- ARGV 2: the report as JSON (RequestReport in gate.py), 3: 1 if a page came, else 0.
-- Returns the kind of the hold that this began or ended, or ''.
local change = report(unpack(cjson.decode(ARGV[2])))
local well = ARGV[3] == '1' and redis.call('HGET', HOLD, 'kind') == 'unavailable'
return change == '' and well and note_list_read() or change
