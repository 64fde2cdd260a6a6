-- Put one message back on its queue, unless it was acknowledged meanwhile. Comes after
-- in_flight.lua.
-- KEYS as for in_flight.lua.
-- ARGV 1: RPUSH for the front of the queue, LPUSH for its back, 2: the delivery tag,
--   3: 1 if this counts as a return.
-- Returns nothing.
put_back(ARGV[2], ARGV[1], ARGV[3] == '1')
