#!lua flags=no-writes
-- Say how the groups of a stream stand, or one of them: a service may not look at the dead letters of others. Returns
-- for each {name, lag or -1, pending, id of the oldest entry that is not handled or nothing, ms since one of its
-- consumers asked or -1, consumers, dead letters, consumers that asked within the last five seconds}. A stream that does
-- not exist has no groups.
-- KEYS: stream   ARGV: the consumer that stands for nobody, the group or nothing for all
local function pairs_of(row)
  local info = {}
  for i = 1, #row, 2 do info[row[i]] = row[i + 1] end
  return info
end
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
-- An idle consumer asks every second.
local AWAKE_MS = 5000
local function standing_of(group)
  local oldest = ''
  if group['pending'] > 0 then
    oldest = redis.call('XPENDING', KEYS[1], group['name'])[2]
  else
    local waiting = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)
    if waiting[1] then oldest = waiting[1][1] end
  end
  local silent, consumers, awake = -1, 0, 0
  for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], group['name'])) do
    local consumer = pairs_of(each)
    if consumer['name'] ~= ARGV[1] then
      consumers = consumers + 1
      if consumer['idle'] < AWAKE_MS then awake = awake + 1 end
      if silent < 0 or consumer['idle'] < silent then silent = consumer['idle'] end
    end
  end
  local dead = redis.call('XLEN', KEYS[1] .. ':' .. group['name'] .. ':dead')
  return {group['name'], group['lag'] or -1, group['pending'], oldest, silent, consumers, dead, awake}
end
local found = {}
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = pairs_of(row)
  if not ARGV[2] or group['name'] == ARGV[2] then found[#found + 1] = standing_of(group) end
end
return found
