"""Cache-aside without its races: one caller computes a value, the others wait, and what is too late is not stored."""

import json
import os
import threading
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("LOCKSTEP_URL", "http://127.0.0.1:8080")
SPACE = f"example-{uuid.uuid4()}"  # a space of its own, so that the example can run again
KEY = "alice:summary"
computed = []


class Problem(Exception):
    """The service has refused a call; `members` is its answer."""

    def __init__(self, members):
        super().__init__(members["detail"])
        self.members = members


def post(path, body):
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE}
    try:
        # Longer than the longest wait for a value.
        with urlopen(Request(URL + path, json.dumps(body).encode(), headers), timeout=30) as response:
            return json.load(response)
    except HTTPError as error:
        raise Problem(json.load(error)) from None


def cached(key, compute):
    """Returns the value of a key, and computes it where this caller is the one to do so."""
    while True:
        answer = post("/cache/get", {"key": key, "lease_ms": 20_000, "wait_ms": 20_000})
        if "lease_token" not in answer:
            if answer["hit"]:
                return answer["value"]
            continue  # The one who fills it takes long. The end of its lease gives another caller one.
        value = compute()
        fill = {"key": key, "lease_token": answer["lease_token"], "value": value, "ttl_ms": 60_000}
        try:
            post("/cache/fill", {**fill, "stale_ms": 600_000, "tags": ["account:alice"]})
        except Problem as problem:
            if problem.members["code"] != "cache_lease_lost":
                raise
            continue  # Something has changed since the value was read.
        return value


def balance(account):
    request = Request(f"{URL}/accounts/{account}/balance", headers={"Lockstep-Space": SPACE})
    with urlopen(request, timeout=30) as response:
        return json.load(response)["balance"]


def summary():
    computed.append(1)
    return f"alice has {balance('alice')}"


post("/accounts", {"account_id": "alice", "initial_balance": "20.00"})
post("/accounts", {"account_id": "bob"})

# Many ask at once, and one of them computes.
values = []
callers = [threading.Thread(target=lambda: values.append(cached(KEY, summary))) for _ in range(20)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(f"{len(values)} callers: {values[0]}, computed {len(computed)} time")

# The money moves, and in the same step the view of it is gone.
transfer = {"from_account": "alice", "to_account": "bob", "amount": "5.00"}
post("/atomic", {"operations": [
    {"operation": "accounts/transfer", "input": transfer},
    {"operation": "cache/invalidate", "input": {"tags": ["account:alice"]}},
]})
print(f"after the transfer: {cached(KEY, summary)}")

# A reader that was slow does not put back what it has read before.
post("/cache/invalidate", {"keys": [KEY]})
slow = post("/cache/get", {"key": KEY})
post("/cache/invalidate", {"keys": [KEY]})
try:
    post("/cache/fill", {"key": KEY, "lease_token": slow["lease_token"], "value": "old", "ttl_ms": 60_000})
except Problem as problem:
    print(f"the slow reader: {problem.members['code']}")
print(f"everybody else: {cached(KEY, summary)}")
