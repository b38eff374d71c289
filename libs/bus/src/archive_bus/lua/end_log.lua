#!lua flags=allow-oom
-- Write the last entry of a log behind all others and let it live for a while yet. Its id is above every other that
-- the log can be given, so nothing follows it. Returns its place, 0 when the log has ended before, nil without a log,
-- or -1 when the lease under which it is written is over.
-- KEYS: log   ARGV: end of the lease or 0, life in ms, field, value, ...
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last = ''
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
local ended, seq = string.match(last, '^(%d+)-(%d+)$')
if ended ~= '0' then return 0 end
local place = tonumber(seq) + 1
redis.call('XADD', KEYS[1], string.format('1-%.0f', place), unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return place
