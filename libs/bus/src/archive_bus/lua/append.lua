#!lua
-- Append to a journal once for each message id, and only at the expected length. Returns {added, entry id}, or
-- {-1, length} when the journal is not as long as the writer believes.
-- KEYS: stream, seen   ARGV: window in ms, lifetime in ms, expected length or -1, field, value, ...
local known = redis.call('GET', KEYS[2])
if known then return {0, known} end
local expected = tonumber(ARGV[3])
if expected >= 0 then
  local length = redis.call('XLEN', KEYS[1])
  if length ~= expected then return {-1, tostring(length)} end
end
local entry = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], entry, 'PX', ARGV[1])
return {1, entry}
