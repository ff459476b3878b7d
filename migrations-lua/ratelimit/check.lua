--[[
Ask a limit for room, and take it if there is.

KEYS
  state_key        bucket, or sorted set of a window

ARGV
  key              id
  cost             units
  algorithm        token_bucket or sliding_window
  limit            the most at once: the capacity of a bucket, the limit of a window
  per_token        parts of a token, of a bucket; the length of a window in milliseconds
  per_ms           parts that come back each millisecond, of a bucket

REPLY
  ok               key allowed limit remaining retry_after_ms reset_after_ms cost
  rate_limited     key allowed:json limit remaining retry_after_ms reset_after_ms cost
]]
--- @include "lib/token_bucket"
--- @include "lib/sliding_window"

local state_key = unpack(keys)
local key, cost, algorithm, limit, per_token, per_ms = unpack(args)

cost, limit = tonumber(cost), tonumber(limit)
local allowed, remaining, retry_after_ms, reset_after_ms
if algorithm == 'token_bucket' then
  allowed, remaining, retry_after_ms, reset_after_ms = take_tokens(state_key, cost, limit, tonumber(per_token), tonumber(per_ms))
else
  allowed, remaining, retry_after_ms, reset_after_ms = admit(state_key, cost, limit, tonumber(per_token))
end

if not allowed then
  return { 'rate_limited', key, 'false', limit, remaining, retry_after_ms, reset_after_ms, cost, forget = true }
end
-- As text: a number loses its last digits on the way into the record of an idempotency key.
return { 'ok', key, 'true', ('%d'):format(limit), ('%d'):format(remaining), retry_after_ms, ('%d'):format(reset_after_ms), ('%d'):format(cost) }
