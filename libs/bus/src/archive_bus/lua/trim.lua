#!lua flags=allow-oom
-- Drop what every group has acknowledged and the retention no longer keeps. Never what is unread or pending. Without a
-- group nobody waits for what is there only where an operator has dropped all that the map names.
-- KEYS: stream   ARGV: keep entries from this time on, ms since the epoch; group of the map, ...
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function before(a_ms, a_seq, b_ms, b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local keep_ms, keep_seq = tonumber(ARGV[1]), 0
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups == 0 then
  if #ARGV == 1 then return 0 end
  local dropped = {}
  for _, group in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':dropped')) do dropped[group] = true end
  for i = 2, #ARGV do
    if not dropped[ARGV[i]] then return 0 end
  end
end
local read_ms, read_seq = keep_ms, keep_seq
for _, group in ipairs(groups) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  local ms, seq = parse(info['last-delivered-id'])
  seq = seq + 1
  if before(ms, seq, read_ms, read_seq) then read_ms, read_seq = ms, seq end
  if tonumber(info['pending']) > 0 then
    local oldest_ms, oldest_seq = parse(redis.call('XPENDING', KEYS[1], info['name'])[2])
    if before(oldest_ms, oldest_seq, ms, seq) then ms, seq = oldest_ms, oldest_seq end
  end
  if before(ms, seq, keep_ms, keep_seq) then keep_ms, keep_seq = ms, seq end
end
local function written(ms, seq) return string.format('%.0f-%.0f', ms, seq) end
if #groups > 0 and redis.REDIS_VERSION_NUM >= 0x080200 then
  -- From there on the server drops also what lies behind an entry that is not acknowledged yet. It would look at all that
  -- is unread, too.
  return redis.call('XTRIM', KEYS[1], 'MINID', written(read_ms, read_seq), 'ACKED')
end
return redis.call('XTRIM', KEYS[1], 'MINID', written(keep_ms, keep_seq))
