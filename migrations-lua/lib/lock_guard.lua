--- @export lease_with_token, stale_token

-- Returns the living lease of a lock that has this fencing token, or nil.
function lease_with_token(lock, fencing_token)
  local token = tonumber(fencing_token)
  for i = 1, #lock.leases do
    if lock.leases[i].token == token then
      return lock.leases[i]
    end
  end
  return nil
end

-- Returns the refusal of a token that no living lease has.
function stale_token(lock, lock_name, fencing_token)
  return { 'stale_fencing_token', lock_name, tonumber(fencing_token), lock.last_token > 0 and lock.last_token }
end
