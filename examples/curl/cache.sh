#!/usr/bin/env bash
# Cache-aside without its races: one caller computes a value, the others wait, and what is too late is not stored.
set -euo pipefail

URL=${LOCKSTEP_URL:-http://127.0.0.1:8080}
SPACE=example-$$-$RANDOM  # a space of its own, so that the example can run again
KEY=alice:summary
computed=$(mktemp)
trap 'rm -f "$computed" "$computed.values"' EXIT

# Prints the answer; fails where the service does not answer at all.
post() {
  curl -sS --max-time 30 "$URL$1" -H 'Content-Type: application/json' -H "Lockstep-Space: $SPACE" -d "$2"
}

# Prints a text of the answer in $2, nothing where there is none.
text() {
  grep -o "\"$1\":\"[^\"]*\"" <<<"$2" | head -1 | cut -d'"' -f4 || true
}

summary() {
  echo >>"$computed"
  local answer
  answer=$(curl -sS --max-time 30 "$URL/accounts/alice/balance" -H "Lockstep-Space: $SPACE")
  echo "alice has $(text balance "$answer")"
}

# Prints the value of a key, and computes it where this caller is the one to do so.
cached() {
  local answer token value stored
  while true; do
    answer=$(post /cache/get '{"key":"'$KEY'", "lease_ms":20000, "wait_ms":20000}')
    token=$(text lease_token "$answer")
    if [ -z "$token" ]; then
      value=$(text value "$answer")
      # Without a value, the one who fills it takes long. The end of its lease gives another caller one.
      [ -z "$value" ] && continue
      echo "$value"
      return
    fi
    value=$(summary)
    stored=$(post /cache/fill '{"key":"'$KEY'", "lease_token":"'"$token"'", "value":"'"$value"'", "ttl_ms":60000,
      "stale_ms":600000, "tags":["account:alice"]}')
    # Otherwise something has changed since the value was read.
    [ "$(text code "$stored")" = cache_lease_lost ] || { echo "$value"; return; }
  done
}

post /accounts '{"account_id":"alice", "initial_balance":"20.00"}' >/dev/null
post /accounts '{"account_id":"bob"}' >/dev/null

# Many ask at once, and one of them computes.
for _ in $(seq 20); do cached >>"$computed.values" & done
wait
echo "$(wc -l <"$computed.values" | tr -d ' ') callers: $(head -1 "$computed.values"), computed $(wc -l <"$computed" | tr -d ' ') time"

# The money moves, and in the same step the view of it is gone.
post /atomic '{"operations":[
  {"operation":"accounts/transfer", "input":{"from_account":"alice", "to_account":"bob", "amount":"5.00"}},
  {"operation":"cache/invalidate", "input":{"tags":["account:alice"]}}]}' >/dev/null
echo "after the transfer: $(cached)"

# A reader that was slow does not put back what it has read before.
post /cache/invalidate '{"keys":["'$KEY'"]}' >/dev/null
slow=$(post /cache/get '{"key":"'$KEY'"}')
post /cache/invalidate '{"keys":["'$KEY'"]}' >/dev/null
late=$(post /cache/fill '{"key":"'$KEY'", "lease_token":"'"$(text lease_token "$slow")"'", "value":"old", "ttl_ms":60000}')
echo "the slow reader: $(text code "$late")"
echo "everybody else: $(cached)"
