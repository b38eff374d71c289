#!lua flags=allow-oom
-- Take over messages that have been idle for the lease, but for those parked until later. Returns {where to go on, the
-- entries}.
-- KEYS: stream, runs, parked   ARGV: group, consumer, nobody, lease in ms, start, count
local lease = tonumber(ARGV[4])
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], ARGV[5], 'COUNT', ARGV[6])
for _, id in ipairs(reply[3] or {}) do
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
if redis.call('EXISTS', KEYS[3]) == 0 then return {reply[1], reply[2]} end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local claimed = {}
for _, entry in ipairs(reply[2]) do
  local id = entry[1]
  local due = redis.call('ZSCORE', KEYS[3], id)
  if due and tonumber(due) > now then
    local idle = math.max(0, lease - (tonumber(due) - now))
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', idle, 'JUSTID')
  else
    if due then redis.call('ZREM', KEYS[3], id) end
    claimed[#claimed + 1] = entry
  end
end
return {reply[1], claimed}
