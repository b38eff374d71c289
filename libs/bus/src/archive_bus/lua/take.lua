#!lua flags=allow-oom
-- Read entries of a partition as its owner: what an earlier reply was to bring that never arrived, else what is new; the
-- entries of a key would be turned around otherwise. Returns {entries, 1 when they were read before, id that the stream
-- has reached}; nil when another process owns it by now: what the server gave to a stale reader, the new owner would miss.
-- KEYS: stream, owner   ARGV: process:token, group, consumer, last id that arrived, most
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local function read(from)
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[5], 'STREAMS', KEYS[1], from)
  local entries = {}
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    if entry[2] then entries[#entries + 1] = entry end
  end
  return entries
end
local entries, again = read(ARGV[4]), 1
if #entries == 0 then entries, again = read('>'), 0 end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local reached = '0-0'
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then reached = info[i + 1] end
end
return {entries, again, reached}
