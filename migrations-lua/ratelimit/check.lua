--[[
Takes units from a limit if they are there.

KEYS
  state_key     mixed   bucket as a record, or window as a sorted set

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

cost, limit, per_token = tonumber(cost), tonumber(limit), tonumber(per_token)
local allowed, remaining, retry_after_ms, reset_after_ms
if algorithm == 'token_bucket' then
  allowed, remaining, retry_after_ms, reset_after_ms = take_tokens(state_key, cost, limit, per_token, tonumber(per_ms))
else
  allowed, remaining, retry_after_ms, reset_after_ms = admit(state_key, cost, limit, per_token)
end

if not allowed then
  return { 'rate_limited', key, 'false', limit, remaining, retry_after_ms, reset_after_ms, cost, replayable = false }
end
return { 'ok', key, 'true', limit, remaining, retry_after_ms, reset_after_ms, cost }
