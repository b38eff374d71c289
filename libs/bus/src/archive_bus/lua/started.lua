#!lua flags=allow-oom
-- Count executions that begin. Returns for each id how often it has begun, and how often a run ended by reporting a
-- failure: the difference are runs that took their process with them.
-- KEYS: attempts   ARGV: entry id, ...
local counts = {}
for i, id in ipairs(ARGV) do
  counts[i] = {
    redis.call('HINCRBY', KEYS[1], id, 1),
    tonumber(redis.call('HGET', KEYS[1], id .. '!') or '0'),
  }
end
return counts
