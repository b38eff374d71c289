#!lua flags=allow-oom
-- Reserve a message for one of its entries. Returns 1; 0 when the message was handled; 2 while another entry of it is
-- pending; -1 when this consumer does not own the entry.
-- KEYS: stream, inbox   ARGV: group, consumer, entry id, window in ms
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not (pending[1] and pending[1][2] == ARGV[2]) then return -1 end
local known = redis.call('GET', KEYS[2])
if known == 'done' then return 0 end
if known and known ~= ARGV[3] and redis.call('XPENDING', KEYS[1], ARGV[1], known, known, 1)[1] then return 2 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
