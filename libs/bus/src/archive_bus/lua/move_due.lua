#!lua flags=allow-oom
-- Move what is due to its stream. Returns {how many, milliseconds until the next or -1}, or nil when the stream does not
-- exist: then its groups do not either, and they have to be created first.
-- KEYS: stream, due, parcels   ARGV: window in ms, most
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[2])
if #ids > 0 and redis.call('EXISTS', KEYS[1]) == 0 then return false end
for _, id in ipairs(ids) do
  local parcel = redis.call('HGET', KEYS[3], id)
  if parcel then
    local entry = redis.call('XADD', KEYS[1], '*', unpack(cmsgpack.unpack(parcel)))
    redis.call('SET', KEYS[1] .. ':seen:' .. id, entry, 'PX', ARGV[1])
  end
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
local following = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #following == 0 then return {#ids, -1} end
return {#ids, math.max(0, tonumber(following[2]) - now)}
