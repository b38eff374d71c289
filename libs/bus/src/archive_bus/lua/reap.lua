#!lua flags=allow-oom
-- Remove consumers of a group that own nothing and have been silent for long. Returns their names. Checked and removed
-- in one step: XGROUP DELCONSUMER drops what a consumer has pending, and nobody would ever get it.
-- KEYS: stream   ARGV: group, silence in ms, consumer to remove however recently it was heard of, or nothing
local gone = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for i = 1, #row, 2 do info[row[i]] = row[i + 1] end
  if info['pending'] == 0 and (info['name'] == ARGV[3] or info['idle'] > tonumber(ARGV[2])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info['name'])
    gone[#gone + 1] = info['name']
  end
end
return gone
