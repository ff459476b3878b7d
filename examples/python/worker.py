"""A worker that asks a rate limit before each job, and waits as long as Retry-After says."""

import json
import os
import time
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("LOCKSTEP_URL", "http://127.0.0.1:8080")
SPACE = f"example-{uuid.uuid4()}"  # a space of its own, so that the example can run again
# Two jobs at once, and one more every two seconds, for all workers together.
RULE = {"key": "mail-provider", "capacity": 2, "refill_tokens": 1, "refill_interval_ms": 2000}


def wait_for_turn():
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE}
    request = Request(f"{URL}/ratelimit", json.dumps(RULE).encode(), headers)
    while True:
        try:
            return urlopen(request, timeout=5).close()
        except HTTPError as problem:
            # The limit, or a service that is busy: both say how long to wait.
            if problem.code not in (429, 503):
                raise
            seconds = int(problem.headers.get("Retry-After", 1))
        print(f"waiting {seconds} s")
        time.sleep(seconds)


for job in (1, 2, 3):
    wait_for_turn()
    print(f"job {job} done")
