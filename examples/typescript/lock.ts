// Work under a lock: a lease that its holder renews, and a fencing token that stops a holder who is too late.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again

const sleep = (ms = 0) => new Promise((done) => setTimeout(done, ms));

async function post(path = "", body = {}) {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Lockstep-Space": space },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  });
  return { ok: response.ok, body: await response.json() };
}

// Answers the lease, as soon as the lock is free.
async function acquire(owner = "") {
  for (;;) {
    const { ok, body } = await post("/locks", { lock: "report", owner, ttl_ms: 30_000 });
    if (ok) return body;
    if (body.code !== "lock_held") throw new Error(body.detail);
    await sleep(body.retry_after_ms);
  }
}

// Is false where the lease is lost.
async function renew({ lease_id = "" }, ttl_ms = 0) {
  const { ok, body } = await post("/locks/renew", { lock: "report", lease_id, ttl_ms });
  if (!ok && !["lease_expired", "lease_not_owner"].includes(body.code)) throw new Error(body.detail);
  return ok;
}

// What the lock protects. It refuses a holder who came before the newest that it has seen.
class Report {
  newest = 0;

  write({ owner = "", fencing_token = 0 }, part = 0) {
    if (fencing_token < this.newest) return `${owner}: write refused, the token is old`;
    this.newest = fencing_token;
    return `${owner}: wrote part ${part}`;
  }
}

async function main() {
  const report = new Report();
  const first = await acquire("worker-7");
  console.log(report.write(first, 1));
  await renew(first, 1000);

  // Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
  const second = await acquire("worker-8");
  console.log(report.write(second, 2));

  // worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, its token is refused.
  if (!(await renew(first, 30_000))) console.log("worker-7: lost the lock");
  console.log(report.write(first, 2));

  await post("/locks/release", { lock: "report", lease_id: second.lease_id });
  console.log("worker-8: released the lock");
}

main();
