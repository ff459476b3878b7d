#!/usr/bin/env bash
# Work under a lock: a lease that its holder renews, and a fencing token that stops a holder who is too late.
set -euo pipefail

url=${LOCKSTEP_URL:-http://127.0.0.1:8080}
space=example-$$-$RANDOM # a space of its own, so that the example can run again

post() { # PATH BODY
  curl -sS --max-time 5 "$url$1" -H "Lockstep-Space: $space" -H 'Content-Type: application/json' -d "$2"
}

member() { # NAME, of the JSON on standard input; jq does this better where you have it
  grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" | head -n 1 | cut -d : -f 2- | tr -d '"'
}

acquire() { # OWNER: answers the lease, as soon as the lock is free
  local answer
  while answer=$(post /locks '{"lock":"report", "owner":"'"$1"'", "ttl_ms":30000}') &&
    [[ $answer == *'"code":"lock_held"'* ]]; do
    sleep "$(member retry_after_ms <<< "$answer")e-3"
  done
  echo "$answer"
}

renew() { # LEASE TTL_MS: fails where the lease is lost
  local answer
  answer=$(post /locks/renew '{"lock":"report", "lease_id":"'"$(member lease_id <<< "$1")"'", "ttl_ms":'"$2"'}')
  [[ $answer != *'"code":"lease_'* ]]
}

newest=0
write() { # OWNER LEASE PART: the report, which refuses a holder who came before the newest that it has seen
  local token
  token=$(member fencing_token <<< "$2")
  if ((token < newest)); then
    echo "$1: write refused, the token is old"
  else
    newest=$token
    echo "$1: wrote part $3"
  fi
}

first=$(acquire worker-7)
write worker-7 "$first" 1
renew "$first" 1000

# Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
second=$(acquire worker-8)
write worker-8 "$second" 2

# worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, its token is refused.
renew "$first" 30000 || echo 'worker-7: lost the lock'
write worker-7 "$first" 2

post /locks/release '{"lock":"report", "lease_id":"'"$(member lease_id <<< "$second")"'"}' >/dev/null
echo 'worker-8: released the lock'
