-- Reserve or settle what one key uses in a minute; the rules are those of domain/quota.py, and a test compares them.
-- KEYS: state (hash), places in flight (sorted set by the end of their life)
-- ARGV: verb, id, requests a minute or 0, tokens a minute or 0, concurrent or 0, tokens, life in ms, now in ms or '',
--       requests beyond the one
--       reserve: takes the tokens. settle: gives them back (a negative number takes more) and takes the requests beyond
--       the one that was reserved, once for each id.
-- Returns {rule, wait in ms, requests left or -1, their reset in ms, tokens left or -1, their reset in ms}.
local time = redis.call('TIME')
local now = tonumber(ARGV[8]) or (time[1] * 1000 + math.floor(time[2] / 1000))
local id, rpm, tpm, places = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local saved = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local passed = math.max(0, now - (tonumber(saved[3]) or now))
-- Debt ends at ten minutes' allowance: MOST_DEBT of domain/quota.py.
local function bounded(level, capacity)
  return math.max(-10 * capacity, math.min(capacity, level))
end
local function refilled(level, capacity)
  return bounded((tonumber(level) or capacity) + passed * capacity / 60000, capacity)
end
local requests, tokens = refilled(saved[1], rpm), refilled(saved[2], tpm)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local rule, wait, amount = '', 0, tonumber(ARGV[6])
if ARGV[1] == 'settle' then
  if redis.call('ZREM', KEYS[2], id) == 1 then
    tokens = bounded(tokens + (tpm > 0 and amount or 0), tpm)
    requests = bounded(requests - (rpm > 0 and tonumber(ARGV[9]) or 0), rpm)
  end
elseif places > 0 and redis.call('ZCARD', KEYS[2]) >= places then
  rule, wait = 'concurrent', 1000
elseif rpm > 0 and requests < 1 then
  rule, wait = 'requests_per_minute', (1 - requests) * 60000 / rpm
elseif tpm > 0 and tokens < amount then
  rule, wait = 'tokens_per_minute', (amount - tokens) * 60000 / tpm
else
  requests, tokens = requests - (rpm > 0 and 1 or 0), tokens - amount
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[7]), id)
  redis.call('PEXPIRE', KEYS[2], 3600000)
end
redis.call('HSET', KEYS[1], 'requests', string.format('%.6f', requests), 'tokens', string.format('%.6f', tokens),
  'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], 3600000)
local function left(level, capacity)
  return capacity > 0 and math.max(0, math.floor(level)) or -1
end
local function reset(level, capacity)
  return capacity > 0 and math.ceil((capacity - level) * 60000 / capacity) or 0
end
return {rule, math.ceil(wait), left(requests, rpm), reset(requests, rpm), left(tokens, tpm), reset(tokens, tpm)}
