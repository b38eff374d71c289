#!lua flags=allow-oom
-- Acknowledge an entry that this consumer still owns and note its message as handled, in one step. Returns 1; 0 when the
-- entry was settled before; -1 when another consumer owns it.
-- KEYS: stream, runs, inbox   ARGV: group, consumer, entry id, window in ms
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] then return 0 end
if pending[1][2] ~= ARGV[2] then return -1 end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('SET', KEYS[3], 'done', 'PX', ARGV[4])
return 1
