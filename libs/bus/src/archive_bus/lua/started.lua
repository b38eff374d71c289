#!lua flags=allow-oom
-- Count executions that begin, once for each run even when this is sent twice. Returns for each id how often it has
-- begun, this run included, and how often a run ended by reporting a failure, whose difference are runs that took their
-- process with them; {-1, 0} for what this consumer does not own. A message that has had so many silent runs is to run
-- alone: it is not counted yet, for it still has to wait until it is.
-- KEYS: stream, attempts   ARGV: group, consumer, the run's token, silent runs or 0 to count all, entry id, ...
local counts = {}
local silent = tonumber(ARGV[4])
for i = 5, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    local begun, token = string.match(redis.call('HGET', KEYS[2], id) or '0:', '^(%d+):(.*)$')
    begun = tonumber(begun)
    local failed = begun == 0 and 0 or tonumber(redis.call('HGET', KEYS[2], id .. '!') or '0')
    if token ~= ARGV[3] then
      begun = begun + 1
      if silent == 0 or begun - 1 - failed < silent then redis.call('HSET', KEYS[2], id, begun .. ':' .. ARGV[3]) end
    end
    counts[#counts + 1] = {begun, failed}
  else
    counts[#counts + 1] = {-1, 0}
  end
end
return counts
