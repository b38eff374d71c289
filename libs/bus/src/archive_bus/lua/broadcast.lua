#!lua
-- Add an entry to a stream without groups once for each message id. Returns {1, entry id}; {0, entry id} when it was
-- there; -1 when the lease under which it is published is over.
-- KEYS: stream, seen   ARGV: end of the lease or 0, window in ms, most entries, field, value, ...
local known = redis.call('GET', KEYS[2])
if known then return {0, known} end
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
local entry = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
redis.call('SET', KEYS[2], entry, 'PX', ARGV[2])
return {1, entry}
