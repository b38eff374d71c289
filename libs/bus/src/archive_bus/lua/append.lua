#!lua
-- Append to a journal once for each message id, and only at the expected length. Returns {added, entry id}; -1 when
-- the lease under which it is appended is over; {-2, length} when the journal is not as long as the writer believes.
-- KEYS: stream, seen   ARGV: end of the lease or 0, window in ms, lifetime in ms, expected length or -1, field, ...
local known = redis.call('GET', KEYS[2])
if known then return {0, known} end
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
local expected = tonumber(ARGV[4])
if expected >= 0 then
  local length = redis.call('XLEN', KEYS[1])
  if length ~= expected then return {-2, tostring(length)} end
end
local entry = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], entry, 'PX', ARGV[2])
return {1, entry}
