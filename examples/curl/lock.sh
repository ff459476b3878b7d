#!/usr/bin/env bash
# Work under a lock: a lease that its holder renews, and a guard that stops a holder who is too late.
set -euo pipefail

url=${LOCKSTEP_URL:-http://127.0.0.1:8080}
space=example-$$-$RANDOM # a space of its own, so that the example can run again

post() { # PATH BODY [HEADER]; waits longer than the longest wait for a lock
  curl -sS --max-time 30 "$url$1" -H "Lockstep-Space: $space" -H 'Content-Type: application/json' ${3:+-H "$3"} -d "$2"
}

member() { # NAME, of the JSON on standard input; jq does this better where you have it
  grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" | head -n 1 | cut -d : -f 2- | tr -d '"'
}

acquire() { # OWNER: waits for the lock, behind all who came before
  post /locks '{"lock":"report", "owner":"'"$1"'", "ttl_ms":30000, "wait_ms":20000}'
}

renew() { # LEASE TTL_MS: fails where the lease is lost
  local answer
  answer=$(post /locks/renew '{"lock":"report", "lease_id":"'"$(member lease_id <<< "$1")"'", "ttl_ms":'"$2"'}')
  [[ $answer != *'"code":"lease_'* ]]
}

write_part() { # OWNER LEASE: adds a part to the report, which the service does only while this lease holds the lock
  local answer guard
  guard="Lockstep-Guard: lock=report;token=$(member fencing_token <<< "$2")"
  answer=$(post /counters/increment '{"counter":"parts"}' "$guard")
  case $answer in
    *'"code":"stale_fencing_token"'* | *'"code":"lock_not_held"'*) echo "$1: write refused, the lease is over" ;;
    *) echo "$1: wrote part $(member value <<< "$answer")" ;;
  esac
}

first=$(acquire worker-7)
write_part worker-7 "$first"
renew "$first" 1000

# Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
second=$(acquire worker-8)
write_part worker-8 "$second"

# worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, nothing is written.
renew "$first" 30000 || echo 'worker-7: lost the lock'
write_part worker-7 "$first"

post /locks/release '{"lock":"report", "lease_id":"'"$(member lease_id <<< "$second")"'"}' >/dev/null
echo 'worker-8: released the lock'
