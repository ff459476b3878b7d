// A worker that asks a rate limit before each job, and waits as long as Retry-After says.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again
// Two jobs at once, and one more every two seconds, for all workers together.
const rule = { key: "mail-provider", capacity: 2, refill_tokens: 1, refill_interval_ms: 2000 };

const sleep = (ms = 0) => new Promise((done) => setTimeout(done, ms));

async function waitForTurn() {
  for (;;) {
    const response = await fetch(`${url}/ratelimit`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Lockstep-Space": space },
      body: JSON.stringify(rule),
      signal: AbortSignal.timeout(5000),
    });
    if (response.ok) return;
    // The limit, or a service that is busy: both say how long to wait.
    if (response.status !== 429 && response.status !== 503) throw new Error(await response.text());
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    console.log(`waiting ${seconds} s`);
    await sleep(1000 * seconds);
  }
}

async function main() {
  for (const job of [1, 2, 3]) {
    await waitForTurn();
    console.log(`job ${job} done`);
  }
}

main();
