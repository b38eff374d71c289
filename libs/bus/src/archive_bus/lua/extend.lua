#!lua flags=allow-oom
-- Renew the lease of what this consumer still owns. Returns the ids it has lost. A plain XCLAIM would take a message
-- back from its new owner.
-- KEYS: stream   ARGV: group, consumer, entry id, ...
local lost = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  else
    lost[#lost + 1] = id
  end
end
return lost
