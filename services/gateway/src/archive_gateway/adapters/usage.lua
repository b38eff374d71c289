-- Add counts to the hash of a day, once for each id: a reply that was lost is asked for again.
-- KEYS: day (hash), seen   ARGV: lifetime in ms, field, number, ...
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', 3600000) then return 0 end
for index = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
