#!lua flags=allow-oom
-- Let go of messages this consumer owns. They belong to nobody then, and any consumer may claim them once they have been
-- idle for a lease. What is to wait longer than a lease is noted as parked until its time.
-- KEYS: stream, attempts, parked   ARGV: group, consumer, nobody, lease in ms, delay in ms, starts to take back, failures
-- to add, entry id, ...
local lease, delay = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = redis.call('TIME')
local due = now[1] * 1000 + math.floor(now[2] / 1000) + delay
for i = 8, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    local idle = delay <= 0 and 1000000000 or math.max(0, lease - delay)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', idle, 'JUSTID')
    if ARGV[6] ~= '0' then
      local begun = string.match(redis.call('HGET', KEYS[2], id) or '0:', '^(%d+):')
      redis.call('HSET', KEYS[2], id, math.max(0, tonumber(begun) - tonumber(ARGV[6])) .. ':')
    end
    if ARGV[7] ~= '0' then redis.call('HINCRBY', KEYS[2], id .. '!', ARGV[7]) end
    if delay > lease then redis.call('ZADD', KEYS[3], due, id) end
  end
end
return 1
