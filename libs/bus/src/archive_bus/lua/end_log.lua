#!lua flags=allow-oom
-- Write the last entry of a log behind all others and let it live for a while yet. Its id is above every other that
-- the log can be given, so nothing follows it. Returns its place, 0 when the log has ended before, or nil without a log.
-- KEYS: log   ARGV: life in ms, field, value, ...
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last = ''
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
local ended, seq = string.match(last, '^(%d+)-(%d+)$')
if ended ~= '0' then return 0 end
local place = tonumber(seq) + 1
redis.call('XADD', KEYS[1], string.format('1-%.0f', place), unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return place
