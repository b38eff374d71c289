#!lua flags=allow-oom
-- Move a message this consumer owns to the dead letters of its group. Returns the dead letter's id, or nil. It may while
-- memory is full: a message that can never be handled would run again and again, and be kept by the stream all the same.
-- KEYS: stream, runs, parked, dead letters   ARGV: group, consumer, entry id, field, value, ...
local id = ARGV[3]
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
if not (pending[1] and pending[1][2] == ARGV[2]) then return false end
local dead = redis.call('XADD', KEYS[4], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], id)
redis.call('HDEL', KEYS[2], id)
return dead
