"""Work under a lock: a lease that its holder renews, and a guard that stops a holder who is too late."""

import json
import os
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("LOCKSTEP_URL", "http://127.0.0.1:8080")
SPACE = f"example-{uuid.uuid4()}"  # a space of its own, so that the example can run again


class Problem(Exception):
    """The service has refused a call; `members` is its answer."""

    def __init__(self, members):
        super().__init__(members["detail"])
        self.members = members


def post(path, body, guard=None):
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE}
    if guard:
        headers["Lockstep-Guard"] = guard
    try:
        # Longer than the longest wait for a lock.
        with urlopen(Request(URL + path, json.dumps(body).encode(), headers), timeout=30) as response:
            return json.load(response)
    except HTTPError as error:
        raise Problem(json.load(error)) from None


def acquire(owner):
    """Waits for the lock, behind all who came before."""
    return post("/locks", {"lock": "report", "owner": owner, "ttl_ms": 30_000, "wait_ms": 20_000})


def renew(lease, ttl_ms):
    """Is false where the lease is lost."""
    try:
        post("/locks/renew", {"lock": "report", "lease_id": lease["lease_id"], "ttl_ms": ttl_ms})
    except Problem as problem:
        if problem.members["code"] not in ("lease_expired", "lease_not_owner"):
            raise
        return False
    return True


def write_part(lease):
    """Adds a part to the report. The service does it only while this lease holds the lock."""
    guard = f"lock=report;token={lease['fencing_token']}"
    try:
        part = post("/counters/increment", {"counter": "parts"}, guard)["value"]
    except Problem as problem:
        if problem.members["code"] not in ("stale_fencing_token", "lock_not_held"):
            raise
        return f"{lease['owner']}: write refused, the lease is over"
    return f"{lease['owner']}: wrote part {part}"


first = acquire("worker-7")
print(write_part(first))
renew(first, 1000)

# Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
second = acquire("worker-8")
print(write_part(second))

# worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, nothing is written.
if not renew(first, 30_000):
    print("worker-7: lost the lock")
print(write_part(first))

post("/locks/release", {"lock": "report", "lease_id": second["lease_id"]})
print("worker-8: released the lock")
