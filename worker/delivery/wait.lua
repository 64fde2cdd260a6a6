-- Delay events whose members are locked, and note which member each of them waits for.
-- Comes after gate.lua.
-- KEYS 1 and 2 as for pace.lua, 3: Keys.delayed, 4: Keys.waiting.
-- ARGV 1 as for pace.lua, 2: Keys.prefix, 3: seconds after which an event goes on by itself; then
-- for each event its member's digest and the message.
-- Returns {1 if a member is free by now, else 0; when the events go on by themselves, epoch
-- seconds}.
local delayed, waited_for, prefix, longest = KEYS[3], KEYS[4], ARGV[2], tonumber(ARGV[3])
local due, free = string.format('%.3f', now + longest), 0
for i = 4, #ARGV, 2 do
    local digest, message = ARGV[i], ARGV[i + 1]
    local waiting = prefix .. 'waiting:' .. digest
    redis.call('ZADD', delayed, due, message)
    redis.call('ZADD', waiting, string.format('%.6f', now + i * 0.000001), message)
    redis.call('EXPIRE', waiting, math.ceil(2 * longest))
    if redis.call('EXISTS', prefix .. 'lock:' .. digest) == 0 then free = 1 end
    redis.call('ZADD', waited_for, 'NX', now, digest)
end
redis.call('EXPIRE', waited_for, math.ceil(2 * longest))
return {free, due}
