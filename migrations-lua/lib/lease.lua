--- @include "lib/lock"
--- @export lease_fields

-- Returns the fields of a reply that tells the lease which holds the locks of the running step. It ends at the same
-- moment for all of them.
function lease_fields(lease_id)
  local locks, lease, mode, permits = {}, nil, nil, nil
  for i = 1, line_count() do
    local lock = open_lock((keys_of_line(i)))
    lease, mode, permits = lease_of(lock, lease_id), lock.mode, lock.permits
    locks[i] = ('{"lock":"%s","fencing_token":%d}'):format(args_of_line(i), lease.token)
  end
  return lease_id, lease.owner, mode, permits > 0 and permits, '[' .. table.concat(locks, ',') .. ']', lease.expires_at,
    lease.expires_at - now, (split_actor(lease.metadata))
end
