-- Acquire the leases of members and read what is known of them.
-- A lock that carries this token already counts as acquired: the reply to the first try was lost.
-- A token that has released members acquires none.
-- KEYS 3: opt_outs, 4: synced, 5: look_after, 6: members that events wait for (not used);
--   then of each member its lock and its hash.
-- ARGV 2: token, 3: lease in milliseconds, 4: mark of the list. What was read of another list
--   counts for nothing: no copy is older than `moved_at`, when the workers began to read this list.
--   If it is not known of which list those who unsubscribed were read, they count as not read.
-- Returns {'on_hold', seconds}, or {'open', now, fresh_from, synced, forgot,
--   then of each member {record, copy, copy_at, seen_at, late_at, yes_at}, or 0 if it is locked}.
local MEMBERS = 7
local wait = hold_seconds(true)
if wait > 0 then return {'on_hold', tostring(wait)} end
local fresh_from, forgot, list, moved_at =
    unpack(redis.call('HMGET', KEYS[3], 'fresh_from', 'forgot', 'list', 'moved_at'))
local is_late = redis.call('EXISTS', released_key(KEYS[5], ARGV[2])) == 1
local synced = redis.call('GET', KEYS[4])
if list ~= ARGV[4] then fresh_from = '' end
if list and list ~= ARGV[4] then synced, moved_at = '', math.huge end
local opened = {'open', string.format('%.6f', now), fresh_from or '', synced or '', forgot or ''}
for i = MEMBERS, #KEYS, 2 do
    local lock = KEYS[i]
    local is_ours = not is_late
        and (redis.call('SET', lock, ARGV[2], 'NX', 'PX', ARGV[3])
            or redis.call('GET', lock) == ARGV[2])
    if is_ours then
        local found = redis.call('HMGET', KEYS[i + 1], 'record', 'copy', 'copy_at', 'seen_at',
            'late_at', 'yes_at')
        for field = 1, 6 do found[field] = found[field] or '' end
        if (tonumber(found[3]) or 0) < (tonumber(moved_at or nil) or 0) then
            found[2], found[3] = '', ''
        end
        opened[#opened + 1] = found
    else
        opened[#opened + 1] = 0
    end
end
return opened
