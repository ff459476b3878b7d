"""Work under a lock: a lease that its holder renews, and a fencing token that stops a holder who is too late."""

import json
import os
import time
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


def post(path, body):
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE}
    try:
        with urlopen(Request(URL + path, json.dumps(body).encode(), headers), timeout=5) as response:
            return json.load(response)
    except HTTPError as error:
        raise Problem(json.load(error)) from None


def acquire(owner):
    """Answers the lease, as soon as the lock is free."""
    while True:
        try:
            return post("/locks", {"lock": "report", "owner": owner, "ttl_ms": 30_000})
        except Problem as problem:
            if problem.members["code"] != "lock_held":
                raise
            time.sleep(problem.members["retry_after_ms"] / 1000)


def renew(lease, ttl_ms):
    """Is false where the lease is lost."""
    try:
        post("/locks/renew", {"lock": "report", "lease_id": lease["lease_id"], "ttl_ms": ttl_ms})
    except Problem as problem:
        if problem.members["code"] not in ("lease_expired", "lease_not_owner"):
            raise
        return False
    return True


class Report:
    """What the lock protects. It refuses a holder who came before the newest that it has seen."""

    newest = 0

    def write(self, lease, part):
        if lease["fencing_token"] < self.newest:
            return f"{lease['owner']}: write refused, the token is old"
        self.newest = lease["fencing_token"]
        return f"{lease['owner']}: wrote part {part}"


report = Report()
first = acquire("worker-7")
print(report.write(first, 1))
renew(first, 1000)

# Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
second = acquire("worker-8")
print(report.write(second, 2))

# worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, its token is refused.
if not renew(first, 30_000):
    print("worker-7: lost the lock")
print(report.write(first, 2))

post("/locks/release", {"lock": "report", "lease_id": second["lease_id"]})
print("worker-8: released the lock")
