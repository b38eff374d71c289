#!lua flags=allow-oom
-- Acknowledge what this consumer still owns; a stale owner must not remove a message that another one is working on.
-- Returns for each id 1, 0 when it was settled before, -1 when another consumer owns it.
-- KEYS: stream, runs   ARGV: group, consumer, entry id, ...
local outcome = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if not pending[1] then
    outcome[#outcome + 1] = 0
  elseif pending[1][2] == ARGV[2] then
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('HDEL', KEYS[2], id)
    outcome[#outcome + 1] = 1
  else
    outcome[#outcome + 1] = -1
  end
end
return outcome
