#!lua flags=allow-oom
-- Let go of messages this consumer owns, so that any consumer may claim them once they have been idle for a lease.
-- KEYS: stream, attempts   ARGV: group, consumer, idle in ms, change of the starts, change of the failures, entry id, ...
for i = 6, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'JUSTID')
    if ARGV[4] ~= '0' then redis.call('HINCRBY', KEYS[2], id, ARGV[4]) end
    if ARGV[5] ~= '0' then redis.call('HINCRBY', KEYS[2], id .. '!', ARGV[5]) end
  end
end
return 1
