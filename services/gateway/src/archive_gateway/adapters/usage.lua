-- Add counts to the hash of a day, once for each id: a reply that was lost is asked for again.
-- KEYS: day (hash), seen   ARGV: lifetime in ms, field, number, ...
-- A script that fails keeps what it wrote until then, so the id is marked last, and only the first addition can fail:
-- then nothing was added, and the whole is asked for again. A count that is full stays full.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local full = '9000000000000000000'
for index = 2, #ARGV, 2 do
  local field, number = ARGV[index], ARGV[index + 1]
  local before = tonumber(redis.call('HGET', KEYS[1], field) or 0)
  if before + number < tonumber(full) then
    redis.call('HINCRBY', KEYS[1], field, number)
  else
    redis.call('HSET', KEYS[1], field, full)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', 3600000)
return 1
