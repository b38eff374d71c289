#!lua
-- Add an entry to a caller's reply stream or the log of an answer while the lease under which it is written lasts.
-- Returns its id; nil when the stream is gone, for nobody would ever read a new one; -1 when the lease is over.
-- KEYS: stream   ARGV: end of the lease or 0, most entries or 0, id or *, field, value, ...
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
if ARGV[2] == '0' then return redis.call('XADD', KEYS[1], 'NOMKSTREAM', unpack(ARGV, 3)) end
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], unpack(ARGV, 3))
