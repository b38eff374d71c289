#!lua flags=allow-oom
-- Take over what a partition's group has pending, whoever holds it, but for what is parked until later. Returns {looked
-- at, entries taken over, entries parked, last id looked at}; nil when another process owns the partition by now.
-- KEYS: stream, owner, parked   ARGV: process:token, group, consumer, nobody, lease in ms, after this id, most
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local taken, parked, last = {}, {}, ARGV[6]
local rows = redis.call('XPENDING', KEYS[1], ARGV[2], '(' .. ARGV[6], '+', ARGV[7])
for _, row in ipairs(rows) do
  local id = row[1]
  last = id
  local due = redis.call('ZSCORE', KEYS[3], id)
  local waits = due and tonumber(due) > now
  if row[2] == ARGV[4] and (waits or tonumber(row[3]) < tonumber(ARGV[5])) then
    local found = redis.call('XRANGE', KEYS[1], id, id)
    if found[1] then parked[#parked + 1] = found[1] end
  else
    local claimed = redis.call('XCLAIM', KEYS[1], ARGV[2], ARGV[3], 0, id)
    if claimed[1] then taken[#taken + 1] = claimed[1] end
    redis.call('ZREM', KEYS[3], id)
  end
end
return {#rows, taken, parked, last}
