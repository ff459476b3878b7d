--- @export keep_for

-- Has a collection that this commit adds to end by itself, counted from now.
function keep_for(key, ttl_ms)
  local expiry = { 'PEXPIRE', key, ttl_ms }
  queue_addition(expiry, expiry)
end
