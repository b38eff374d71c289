#!lua
-- Add an entry to the log of an answer while the lease under which it is written lasts. Returns its id; nil when the
-- log is gone; -1 when the lease is over.
-- KEYS: log   ARGV: end of the lease or 0, place, field, value, ...
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', unpack(ARGV, 2))
