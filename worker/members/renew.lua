-- Renew the leases of members that are about to be written, drop their copies, and store the notes.
-- A member may not be written if its lease has ended, or if a page of members came meanwhile that
-- may hold newer knowledge (doubt).
-- KEYS as for acquire.lua.
-- ARGV 2: token, 3: lease in milliseconds, 4: requests to charge, 5: seconds that a record lives;
--   then of each member the record to store, or ''.
-- Returns {'on_hold', seconds}, or {'open', then of each member 1 if it may be written, else 0}.
local MEMBERS, FIRST = 7, 6
local wait = hold_seconds(true)
if wait > 0 then return {'on_hold', tostring(wait)} end
local mine = {'open'}
for i = MEMBERS, #KEYS, 2 do
    local lock, member, record = KEYS[i], KEYS[i + 1], ARGV[FIRST + (i - MEMBERS) / 2]
    if redis.call('GET', lock) == ARGV[2] and redis.call('HEXISTS', member, 'doubt') == 0 then
        redis.call('PEXPIRE', lock, ARGV[3])
        redis.call('HDEL', member, 'copy', 'copy_at')
        if record ~= '' then
            redis.call('HSET', member, 'record', record)
            redis.call('EXPIRE', member, ARGV[5])
        end
        mine[#mine + 1] = 1
    else
        mine[#mine + 1] = 0
    end
end
charge(tonumber(ARGV[4]))
return mine
