#!lua flags=allow-oom
-- Read new entries of a partition as its owner. Returns {entries, id that the stream has reached}; nil when another
-- process owns it by now: what the server gave to a stale reader, the new owner would miss.
-- KEYS: stream, owner   ARGV: process:token, group, consumer, most
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], '>')
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local reached = '0-0'
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then reached = info[i + 1] end
end
return {reply and reply[1][2] or {}, reached}
