#!lua flags=allow-oom
-- Take, keep or let go of a partition. Returns the fencing token of this owner, 0 when another process owns it or nobody.
-- A token is above all before it, also those of a server that has lost its data since: it starts from the time.
-- KEYS: owner, fence   ARGV: process, lease in ms or 0 to let go
local held = redis.call('GET', KEYS[1])
local lease = tonumber(ARGV[2])
if held then
  local process, token = string.match(held, '^(.*):(%d+)$')
  if process ~= ARGV[1] then return 0 end
  if lease == 0 then
    redis.call('DEL', KEYS[1])
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(token)
end
if lease == 0 then return 0 end
local now = redis.call('TIME')
local token = math.max(now[1] * 1000 + math.floor(now[2] / 1000), tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. text, 'PX', ARGV[2])
return token
