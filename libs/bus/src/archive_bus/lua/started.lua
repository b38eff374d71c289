#!lua flags=allow-oom
-- Note runs that begin, each once by its name even when this is sent twice. What is noted of a message are the names of
-- its runs, each with a ! once it has failed. Returns for each message how many runs it has had, this one included, and
-- how many of them failed; what is neither this run nor failed ended without a word. {-1, 0} for what this consumer does
-- not own. A message that has had so many silent runs is to run alone: its run is not noted yet, for it still has to wait
-- until it is.
-- KEYS: stream, runs   ARGV: group, consumer, silent runs or 0 to note all, entry id, its run, ...
local counts = {}
local silent = tonumber(ARGV[3])
for i = 4, #ARGV, 2 do
  local id, mine = ARGV[i], ARGV[i + 1]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    local runs = redis.call('HGET', KEYS[2], id) or ''
    local begun, failed, known = 0, 0, false
    for run, mark in string.gmatch(runs, '(%w+)(!?)') do
      begun = begun + 1
      if mark ~= '' then failed = failed + 1 end
      if run == mine then known = true end
    end
    if not known then
      if silent == 0 or begun - failed < silent then redis.call('HSET', KEYS[2], id, runs .. mine .. ' ') end
      begun = begun + 1
    end
    counts[#counts + 1] = {begun, failed}
  else
    counts[#counts + 1] = {-1, 0}
  end
end
return counts
