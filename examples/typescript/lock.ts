// Work under a lock: a lease that its holder renews, and a guard that stops a holder who is too late.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again

async function post(path = "", body = {}, guard = "") {
  const response = await fetch(url + path, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Lockstep-Space": space,
      ...(guard && { "Lockstep-Guard": guard }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000), // longer than the longest wait for a lock
  });
  return { ok: response.ok, body: await response.json() };
}

// Waits for the lock, behind all who came before.
async function acquire(owner = "") {
  const { ok, body } = await post("/locks", { lock: "report", owner, ttl_ms: 30_000, wait_ms: 20_000 });
  if (!ok) throw new Error(body.detail);
  return body;
}

// Is false where the lease is lost.
async function renew({ lease_id = "" }, ttl_ms = 0) {
  const { ok, body } = await post("/locks/renew", { lock: "report", lease_id, ttl_ms });
  if (!ok && !["lease_expired", "lease_not_owner"].includes(body.code)) throw new Error(body.detail);
  return ok;
}

// Adds a part to the report. The service does it only while this lease holds the lock.
async function writePart({ owner = "", fencing_token = 0 }) {
  const guard = `lock=report;token=${fencing_token}`;
  const { ok, body } = await post("/counters/increment", { counter: "parts" }, guard);
  if (ok) return `${owner}: wrote part ${body.value}`;
  if (!["stale_fencing_token", "lock_not_held"].includes(body.code)) throw new Error(body.detail);
  return `${owner}: write refused, the lease is over`;
}

async function main() {
  const first = await acquire("worker-7");
  console.log(await writePart(first));
  await renew(first, 1000);

  // Now worker-7 hangs for longer than its lease. worker-8 waits until the lock is free, and goes on.
  const second = await acquire("worker-8");
  console.log(await writePart(second));

  // worker-7 wakes up. If it renews, it learns that it has lost the lock; if it just writes, nothing is written.
  if (!(await renew(first, 30_000))) console.log("worker-7: lost the lock");
  console.log(await writePart(first));

  await post("/locks/release", { lock: "report", lease_id: second.lease_id });
  console.log("worker-8: released the lock");
}

main();
