#!lua flags=allow-oom
-- Drop a group and what is counted and parked for it; its dead letters stay. It is remembered as dropped, so that no
-- publisher brings it back; its own service does when it subscribes. Returns how much it had waiting, or nil without it.
-- KEYS: stream, runs, parked, dropped   ARGV: group
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for i = 1, #row, 2 do info[row[i]] = row[i + 1] end
  if info['name'] == ARGV[1] then
    redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
    redis.call('DEL', KEYS[2], KEYS[3])
    redis.call('SADD', KEYS[4], ARGV[1])
    return (info['lag'] or redis.call('XLEN', KEYS[1])) + info['pending']
  end
end
return false
