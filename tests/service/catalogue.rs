//! A valid call of every operation. The tests that hold for all operations (repeats, wrong types,
//! Redis commands, the OpenAPI document) take their calls from here, so that a new operation is in all
//! of them as soon as it has an entry.

use std::collections::BTreeSet;

use lockstep::{app, store::Library};
use serde_json::{Value, json};

use crate::support::{Call, Service, operation};

/// Things that a call needs to find in its space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// alice has 500.00 USD, bob 200.00, and hotel nothing.
    Accounts,
    /// dave has nothing, and is frozen in both directions.
    Frozen,
    /// bob holds 120.00 for hotel: `{hold_id}`.
    Hold,
    /// alice has paid bob 2.50: `{transaction_id}`.
    Payment,
    /// 100 units of espresso-cup, of which each customer may have 50.
    Product,
    /// carol has reserved one espresso-cup: `{reservation_id}`.
    Reservation,
    /// worker-7 has the lock nightly-report: `{lease_id}`.
    Lock,
    /// The policies api (a token bucket) and exports (a concurrency limit).
    Policies,
    /// tenant-7 has taken a unit of each policy: `{limit_lease_id}`.
    Taken,
    /// The counter seats-left is at 48.
    Counter,
    /// The cache has the value of the key report, which has the tag daily.
    Cached,
    /// The cache has given the lease to fill the key account:bob:summary: `{lease_token}`.
    Filling,
    /// The plain data key balance is 42.
    Data,
    /// The script add-capped has two versions, of which the second runs.
    Script,
    /// The service has keys, and calls have one that may do everything.
    RootKey,
    /// The same, and there is another key: `{key_id}`.
    Key,
}

/// Adds to a number up to a limit.
const ADD_CAPPED: &str = "#!lua
local total = tonumber(redis.call('GET', KEYS[1]) or '0')
if total + ARGV[1] > tonumber(ARGV[2]) then
  return redis.error_reply('LIMIT reached')
end
return redis.call('INCRBY', KEYS[1], ARGV[1])";

impl Seed {
    pub const ALL: [Seed; 15] = [
        Seed::Accounts,
        Seed::Frozen,
        Seed::Hold,
        Seed::Payment,
        Seed::Product,
        Seed::Reservation,
        Seed::Lock,
        Seed::Policies,
        Seed::Taken,
        Seed::Counter,
        Seed::Cached,
        Seed::Filling,
        Seed::Data,
        Seed::Script,
        Seed::Key,
    ];
}

/// One valid call. Its path and its body may name ids that are generated, as `{hold_id}`.
pub struct Entry {
    /// The name of the operation, such as `accounts/transfer`.
    pub name: &'static str,
    pub method: &'static str,
    /// The path as the OpenAPI document has it.
    pub path: &'static str,
    /// Null where the call has no body.
    pub body: Value,
    pub needs: &'static [Seed],
    /// The kind and the id of each key that the script reads, but for that of an idempotency key.
    pub reads: &'static [(&'static str, &'static str)],
}

impl Entry {
    fn of(name: &'static str, method: &'static str, path: &'static str) -> Entry {
        Entry { name, method, path, body: Value::Null, needs: &[], reads: &[] }
    }

    fn json(self, body: Value) -> Entry {
        Entry { body, ..self }
    }

    fn needs(self, needs: &'static [Seed]) -> Entry {
        Entry { needs, ..self }
    }

    fn reads(self, reads: &'static [(&'static str, &'static str)]) -> Entry {
        Entry { reads, ..self }
    }

    /// True where the call may change something, and so takes an idempotency key.
    pub fn is_command(&self) -> bool {
        self.method != "GET" && !["batch/get", "cache/get", "locks/validate"].contains(&self.name)
    }
}

/// All entries, grouped by domain. An operation that works in two ways has two.
pub fn catalogue() -> Vec<Entry> {
    [
        accounts(),
        holds(),
        inventory(),
        counters(),
        locks(),
        cache(),
        limits(),
        data(),
        scripts(),
        keys(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn accounts() -> Vec<Entry> {
    const BOTH: &[(&str, &str)] =
        &[("account", "alice"), ("account", "bob"), ("postings", "alice"), ("postings", "bob")];
    const ALICE: &[(&str, &str)] = &[("account", "alice"), ("postings", "alice")];
    const EXTERNAL: &[(&str, &str)] =
        &[("account", "alice"), ("postings", "alice"), ("external", "accounts")];
    vec![
        Entry::of("accounts/open", "POST", "/accounts")
            .json(json!({ "account_id": "new", "initial_balance": "1" }))
            .reads(&[
                ("account", "new"),
                ("external", "accounts"),
                ("postings", "new"),
                ("index", "accounts"),
            ]),
        Entry::of("accounts/transfer", "POST", "/accounts/transfer")
            .json(json!({ "from_account": "alice", "to_account": "bob", "amount": "1" }))
            .needs(&[Seed::Accounts])
            .reads(BOTH),
        Entry::of("accounts/deposit", "POST", "/accounts/deposit")
            .json(json!({ "account_id": "alice", "amount": "1" }))
            .needs(&[Seed::Accounts])
            .reads(EXTERNAL),
        Entry::of("accounts/withdraw", "POST", "/accounts/withdraw")
            .json(json!({ "account_id": "alice", "amount": "1" }))
            .needs(&[Seed::Accounts])
            .reads(EXTERNAL),
        Entry::of("accounts/reverse", "POST", "/accounts/reverse")
            .json(json!({ "transaction_id": "{transaction_id}" }))
            .needs(&[Seed::Accounts, Seed::Payment])
            .reads(&[
                ("account", "alice"),
                ("account", "bob"),
                ("postings", "alice"),
                ("postings", "bob"),
                ("transactions", "{transaction_second}"),
            ]),
        Entry::of("accounts/freeze", "POST", "/accounts/freeze")
            .json(json!({ "account_id": "alice" }))
            .needs(&[Seed::Accounts])
            .reads(&[("account", "alice")]),
        Entry::of("accounts/unfreeze", "POST", "/accounts/unfreeze")
            .json(json!({ "account_id": "dave" }))
            .needs(&[Seed::Frozen])
            .reads(&[("account", "dave")]),
        Entry::of("accounts/update", "PATCH", "/accounts/{account_id}")
            .json(json!({ "overdraft_limit": "5" }))
            .needs(&[Seed::Accounts])
            .reads(&[("account", "alice")]),
        Entry::of("accounts/close", "POST", "/accounts/close")
            .json(json!({ "account_id": "bob", "sweep_to": "alice" }))
            .needs(&[Seed::Accounts])
            .reads(BOTH),
        Entry::of("accounts/get", "GET", "/accounts/{account_id}")
            .needs(&[Seed::Accounts])
            .reads(ALICE),
        Entry::of("accounts/balance", "GET", "/accounts/{account_id}/balance")
            .needs(&[Seed::Accounts])
            .reads(&[("account", "alice")]),
        Entry::of("accounts/transactions", "GET", "/accounts/{account_id}/transactions")
            .needs(&[Seed::Accounts])
            .reads(ALICE),
        Entry::of("accounts/get_transaction", "GET", "/accounts/transactions/{transaction_id}")
            .needs(&[Seed::Accounts, Seed::Payment])
            .reads(&[("transactions", "{transaction_second}")]),
        Entry::of("accounts/list", "GET", "/accounts")
            .needs(&[Seed::Accounts])
            .reads(&[("account", "alice"), ("index", "accounts")]),
        Entry::of("accounts/integrity", "GET", "/accounts/integrity")
            .needs(&[Seed::Accounts, Seed::Hold])
            .reads(&[
                ("account", "alice"),
                ("postings", "alice"),
                ("account_holds", "bob"),
                ("index", "accounts"),
                ("external", "accounts"),
            ]),
    ]
}

fn holds() -> Vec<Entry> {
    vec![
        Entry::of("accounts/hold", "POST", "/accounts/hold")
            .json(json!({
                "from_account": "alice", "to_account": "bob", "amount": "1", "ttl_ms": 60_000
            }))
            .needs(&[Seed::Accounts])
            .reads(&[("account", "alice"), ("account", "bob"), ("account_holds", "alice")]),
        Entry::of("accounts/capture", "POST", "/accounts/capture")
            .json(json!({ "hold_id": "{hold_id}", "amount": "0.5", "final": false }))
            .needs(&[Seed::Accounts, Seed::Hold])
            .reads(&[
                ("account", "bob"),
                ("account", "hotel"),
                ("account_holds", "bob"),
                ("postings", "bob"),
                ("postings", "hotel"),
                ("hold", "{hold_id}"),
            ]),
        Entry::of("accounts/release", "POST", "/accounts/release")
            .json(json!({ "hold_id": "{hold_id}" }))
            .needs(&[Seed::Accounts, Seed::Hold])
            .reads(&[("account", "bob"), ("account_holds", "bob"), ("hold", "{hold_id}")]),
        Entry::of("accounts/extend", "POST", "/accounts/extend")
            .json(json!({ "hold_id": "{hold_id}", "ttl_ms": 90_000_000 }))
            .needs(&[Seed::Accounts, Seed::Hold])
            .reads(&[("account", "bob"), ("account_holds", "bob"), ("hold", "{hold_id}")]),
        Entry::of("accounts/get_hold", "GET", "/accounts/holds/{hold_id}")
            .needs(&[Seed::Accounts, Seed::Hold])
            .reads(&[("hold", "{hold_id}")]),
    ]
}

fn inventory() -> Vec<Entry> {
    const PRODUCT: &[(&str, &str)] =
        &[("product", "espresso-cup"), ("product_holds", "espresso-cup")];
    const RESERVATION: &[(&str, &str)] = &[
        ("product", "espresso-cup"),
        ("product_holds", "espresso-cup"),
        ("movements", "espresso-cup"),
        ("reservation", "{reservation_id}"),
        ("allowance", "carol/espresso-cup"),
    ];
    const RESERVED: &[Seed] = &[Seed::Product, Seed::Reservation];
    vec![
        Entry::of("inventory/add_product", "POST", "/inventory/products")
            .json(json!({ "product_id": "new", "name": "n", "price": "1", "initial_stock": 1 }))
            .reads(&[("product", "new")]),
        Entry::of("inventory/adjust", "POST", "/inventory/adjust")
            .json(json!({ "product_id": "espresso-cup", "delta": 1, "reason": "received" }))
            .needs(&[Seed::Product])
            .reads(&[("product", "espresso-cup")]),
        Entry::of("inventory/update_product", "PATCH", "/inventory/products/{product_id}")
            .json(json!({ "price": "3" }))
            .needs(&[Seed::Product])
            .reads(&[("product", "espresso-cup")]),
        Entry::of("inventory/reserve", "POST", "/inventory/reserve")
            .json(json!({ "customer_id": "carol", "product_id": "espresso-cup", "quantity": 1 }))
            .needs(&[Seed::Product])
            .reads(PRODUCT),
        Entry::of("inventory/extend", "POST", "/inventory/extend")
            .json(json!({ "reservation_id": "{reservation_id}", "ttl_ms": 80_000_000 }))
            .needs(RESERVED)
            .reads(&[
                ("product", "espresso-cup"),
                ("product_holds", "espresso-cup"),
                ("reservation", "{reservation_id}"),
            ]),
        Entry::of("inventory/confirm", "POST", "/inventory/confirm")
            .json(json!({ "reservation_id": "{reservation_id}" }))
            .needs(RESERVED)
            .reads(RESERVATION),
        Entry::of("inventory/cancel", "POST", "/inventory/cancel")
            .json(json!({ "reservation_id": "{reservation_id}" }))
            .needs(RESERVED)
            .reads(RESERVATION),
        Entry::of("inventory/get_product", "GET", "/inventory/products/{product_id}")
            .needs(&[Seed::Product])
            .reads(&[("product", "espresso-cup")]),
        Entry::of("inventory/list_products", "GET", "/inventory/products")
            .needs(&[Seed::Product])
            .reads(&[("product", "espresso-cup"), ("index", "products")]),
        Entry::of("inventory/movements", "GET", "/inventory/products/{product_id}/movements")
            .needs(&[Seed::Product])
            .reads(&[("product", "espresso-cup"), ("movements", "espresso-cup")]),
        Entry::of("inventory/get_reservation", "GET", "/inventory/reservations/{reservation_id}")
            .needs(RESERVED)
            .reads(&[("reservation", "{reservation_id}")]),
        Entry::of(
            "inventory/customer_reservations",
            "GET",
            "/inventory/customers/{customer_id}/reservations",
        )
        .needs(RESERVED)
        .reads(&[("reservations", "carol")]),
        Entry::of("inventory/integrity", "GET", "/inventory/integrity")
            .needs(RESERVED)
            .reads(PRODUCT),
    ]
}

fn counters() -> Vec<Entry> {
    const SEATS: &[(&str, &str)] = &[("counter", "seats-left")];
    vec![
        Entry::of("counters/increment", "POST", "/counters/increment")
            .json(json!({ "counter": "seats-left", "by": 5 }))
            .reads(SEATS),
        Entry::of("counters/decrement", "POST", "/counters/decrement")
            .json(json!({ "counter": "seats-left", "by": 2 }))
            .needs(&[Seed::Counter])
            .reads(SEATS),
        Entry::of("counters/set", "POST", "/counters/set")
            .json(json!({ "counter": "seats-left", "value": 9, "if_value": 48 }))
            .needs(&[Seed::Counter])
            .reads(SEATS),
        Entry::of("counters/reset", "POST", "/counters/reset")
            .json(json!({ "counter": "seats-left", "value": 3 }))
            .needs(&[Seed::Counter])
            .reads(SEATS),
        Entry::of("counters/batch", "POST", "/counters/batch")
            .json(json!({ "operations": [
                { "counter": "seats-left", "action": "incr", "value": 1 },
                { "counter": "visits", "action": "set", "value": 1 }
            ] }))
            .needs(&[Seed::Counter])
            .reads(&[("counter", "seats-left"), ("counter", "visits")]),
        Entry::of("counters/get", "GET", "/counters/{counter}")
            .needs(&[Seed::Counter])
            .reads(SEATS),
        Entry::of("counters/delete", "DELETE", "/counters/{counter}")
            .needs(&[Seed::Counter])
            .reads(SEATS),
    ]
}

fn locks() -> Vec<Entry> {
    const LOCK: &[(&str, &str)] = &[("lock", "nightly-report")];
    vec![
        Entry::of("locks/acquire", "POST", "/locks")
            .json(json!({ "lock": "nightly-report", "owner": "me" }))
            .reads(LOCK),
        Entry::of("locks/renew", "POST", "/locks/renew")
            .json(json!({ "lock": "nightly-report", "lease_id": "{lease_id}", "ttl_ms": 90_000 }))
            .needs(&[Seed::Lock])
            .reads(LOCK),
        Entry::of("locks/release", "POST", "/locks/release")
            .json(json!({ "lock": "nightly-report", "lease_id": "{lease_id}" }))
            .needs(&[Seed::Lock])
            .reads(LOCK),
        Entry::of("locks/validate", "POST", "/locks/validate")
            .json(json!({ "lock": "nightly-report", "fencing_token": "{fencing_token}" }))
            .needs(&[Seed::Lock])
            .reads(LOCK),
        Entry::of("locks/break", "POST", "/locks/break")
            .json(json!({ "lock": "nightly-report", "reason": "it hangs" }))
            .needs(&[Seed::Lock])
            .reads(LOCK),
        Entry::of("locks/get", "GET", "/locks/{lock}")
            .needs(&[Seed::Lock])
            .reads(&[("lock", "nightly-report"), ("lock_queue", "nightly-report")]),
        Entry::of("locks/list", "GET", "/locks")
            .needs(&[Seed::Lock])
            .reads(&[("lock", "nightly-report"), ("index", "locks")]),
    ]
}

fn cache() -> Vec<Entry> {
    const SUMMARY: &[(&str, &str)] = &[("cache", "account:bob:summary")];
    const TAGGED: &[(&str, &str)] = &[("cache", "report"), ("tags", "cache")];
    vec![
        Entry::of("cache/get", "POST", "/cache/get").json(json!({ "key": "report" })).reads(TAGGED),
        Entry::of("cache/get", "POST", "/cache/get")
            .json(json!({ "key": "report" }))
            .needs(&[Seed::Cached])
            .reads(TAGGED),
        Entry::of("cache/fill", "POST", "/cache/fill")
            .json(json!({
                "key": "account:bob:summary", "lease_token": "{lease_token}", "value": "42", "ttl_ms": 60_000
            }))
            .needs(&[Seed::Filling])
            .reads(SUMMARY),
        // A large value stands beside the record.
        Entry::of("cache/fill", "POST", "/cache/fill")
            .json(json!({
                "key": "account:bob:summary", "lease_token": "{lease_token}", "value": "x".repeat(20_000),
                "ttl_ms": 60_000, "tags": ["daily"]
            }))
            .needs(&[Seed::Filling])
            .reads(&[("cache", "account:bob:summary"), ("tags", "cache")]),
        Entry::of("cache/set", "POST", "/cache/set")
            .json(json!({
                "key": "report", "value": "43", "version": 7, "ttl_ms": 60_000, "tags": ["daily"]
            }))
            .needs(&[Seed::Cached])
            .reads(TAGGED),
        Entry::of("cache/invalidate", "POST", "/cache/invalidate")
            .json(json!({ "keys": ["report"], "tags": ["daily", "weekly"] }))
            .needs(&[Seed::Cached])
            .reads(TAGGED),
        Entry::of("cache/read", "GET", "/cache/{key}").needs(&[Seed::Cached]).reads(TAGGED),
    ]
}

fn limits() -> Vec<Entry> {
    const LIMIT: &[(&str, &str)] = &[("limit", "api/tenant-7"), ("limit_policy", "api")];
    const LEASES: &[(&str, &str)] = &[
        ("limit", "exports/tenant-7"),
        ("limit_log", "exports/tenant-7"),
        ("limit_policy", "exports"),
    ];
    const POLICY: &[(&str, &str)] = &[("limit_policy", "api"), ("index", "limit_policies")];
    vec![
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({
                "key": "tenant-7", "capacity": 50, "refill_tokens": 1, "refill_interval_ms": 60_000
            }))
            .reads(&[("limit", "/bucket/tenant-7")]),
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({
                "key": "tenant-7", "algorithm": "sliding_window", "limit": 5, "window_ms": 60_000
            }))
            .reads(&[("limit_log", "/window-60000/tenant-7")]),
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({
                "key": "tenant-7", "algorithm": "sliding_counter", "limit": 5, "window_ms": 60_000
            }))
            .reads(&[("limit", "/counter-60000-1000/tenant-7")]),
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({
                "key": "tenant-7", "algorithm": "fixed_window", "limit": 5, "window_ms": 60_000
            }))
            .reads(&[("limit", "/fixed-60000/tenant-7")]),
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({
                "key": "tenant-7", "algorithm": "concurrency", "limit": 5, "ttl_ms": 60_000
            }))
            .reads(&[("limit", "/leases/tenant-7"), ("limit_log", "/leases/tenant-7")]),
        Entry::of("ratelimit/check", "POST", "/ratelimit")
            .json(json!({ "key": "tenant-7", "policy": "api" }))
            .needs(&[Seed::Policies])
            .reads(LIMIT),
        Entry::of("ratelimit/check_all", "POST", "/ratelimit/check-all")
            .json(json!({ "checks": [
                { "key": "tenant-7", "policy": "api" }, { "key": "tenant-7", "policy": "exports" }
            ] }))
            .needs(&[Seed::Policies])
            .reads(&[
                ("limit", "api/tenant-7"),
                ("limit_policy", "api"),
                ("limit", "exports/tenant-7"),
                ("limit_log", "exports/tenant-7"),
                ("limit_policy", "exports"),
            ]),
        Entry::of("ratelimit/peek", "GET", "/ratelimit/peek?policy=api&key=tenant-7")
            .needs(&[Seed::Policies])
            .reads(LIMIT),
        Entry::of("ratelimit/refund", "POST", "/ratelimit/refund")
            .json(json!({ "key": "tenant-7", "policy": "api" }))
            .needs(&[Seed::Policies, Seed::Taken])
            .reads(LIMIT),
        Entry::of("ratelimit/reset", "POST", "/ratelimit/reset")
            .json(json!({ "key": "tenant-7", "policy": "api" }))
            .needs(&[Seed::Policies, Seed::Taken])
            .reads(LIMIT),
        Entry::of("ratelimit/release", "POST", "/ratelimit/release")
            .json(json!({ "key": "tenant-7", "policy": "exports", "lease_id": "{limit_lease_id}" }))
            .needs(&[Seed::Policies, Seed::Taken])
            .reads(LEASES),
        Entry::of("ratelimit/put_policy", "PUT", "/ratelimit/policies/{policy}")
            .json(json!({ "algorithm": "fixed_window", "limit": 5, "window_ms": 60_000 }))
            .reads(POLICY),
        Entry::of("ratelimit/put_policy", "PUT", "/ratelimit/policies/{policy}")
            .json(json!({ "algorithm": "fixed_window", "limit": 5, "window_ms": 60_000 }))
            .needs(&[Seed::Policies])
            .reads(&[("limit_policy", "api")]),
        Entry::of("ratelimit/get_policy", "GET", "/ratelimit/policies/{policy}")
            .needs(&[Seed::Policies])
            .reads(&[("limit_policy", "api")]),
        Entry::of("ratelimit/list_policies", "GET", "/ratelimit/policies")
            .needs(&[Seed::Policies])
            .reads(POLICY),
        Entry::of("ratelimit/delete_policy", "DELETE", "/ratelimit/policies/{policy}")
            .needs(&[Seed::Policies])
            .reads(POLICY),
    ]
}

/// Plain data keys, and `POST /atomic`. A plain key of another type than a command needs is no error of
/// the service, so `reads` names none of them.
fn data() -> Vec<Entry> {
    let commands = json!([
        { "type": "incr", "key": "balance" },
        { "type": "rpush", "key": "list", "values": ["a"] }
    ]);
    vec![
        Entry::of("atomic/run", "POST", "/atomic")
            .json(json!({ "operations": [
                operation("counters/increment", json!({ "counter": "seats-left" })),
                operation("accounts/transfer", json!({
                    "from_account": "alice", "to_account": "bob", "amount": "1"
                })),
                operation("inventory/reserve", json!({
                    "customer_id": "carol", "product_id": "espresso-cup", "quantity": 1
                })),
                operation("ratelimit/check", json!({
                    "key": "tenant-7", "capacity": 50, "refill_tokens": 1,
                    "refill_interval_ms": 60_000
                }))
            ] }))
            .needs(&[Seed::Accounts, Seed::Product, Seed::Reservation])
            .reads(&[
                ("counter", "seats-left"),
                ("account", "alice"),
                ("account", "bob"),
                ("postings", "alice"),
                ("postings", "bob"),
                ("product", "espresso-cup"),
                ("product_holds", "espresso-cup"),
                ("movements", "espresso-cup"),
                ("allowance", "carol/espresso-cup"),
                ("reservations", "carol"),
                ("limit", "/bucket/tenant-7"),
            ]),
        Entry::of("batch/set", "POST", "/batch/set")
            .json(json!({ "values": { "x": "1", "y": "2" } })),
        Entry::of("batch/get", "POST", "/batch/get")
            .json(json!({ "keys": ["balance", "none"] }))
            .needs(&[Seed::Data]),
        Entry::of("batch/run", "POST", "/batch")
            .json(json!({ "operations": commands }))
            .needs(&[Seed::Data]),
        Entry::of("transactions/run", "POST", "/transactions")
            .json(json!({ "operations": commands }))
            .needs(&[Seed::Data]),
    ]
}

fn scripts() -> Vec<Entry> {
    const SCRIPT: &[(&str, &str)] = &[("script", "add-capped"), ("script_versions", "add-capped")];
    const NEEDS: &[Seed] = &[Seed::Script];
    vec![
        Entry::of("scripts/put", "PUT", "/scripts/{name}")
            .json(json!({ "source": "#!lua\nreturn 1" }))
            .reads(&[("script", "add-capped"), ("index", "scripts")]),
        Entry::of("scripts/put", "PUT", "/scripts/{name}")
            .json(json!({ "source": "#!lua\nreturn 3", "keys": ["k"] }))
            .needs(NEEDS)
            .reads(&[("script", "add-capped")]),
        Entry::of("scripts/get", "GET", "/scripts/{name}").needs(NEEDS).reads(SCRIPT),
        Entry::of("scripts/get_version", "GET", "/scripts/{name}/versions/{version}")
            .needs(NEEDS)
            .reads(SCRIPT),
        Entry::of("scripts/list", "GET", "/scripts").needs(NEEDS).reads(&[
            ("script", "add-capped"),
            ("script_versions", "add-capped"),
            ("index", "scripts"),
        ]),
        Entry::of("scripts/activate", "POST", "/scripts/{name}/activate")
            .json(json!({ "version": 1 }))
            .needs(NEEDS)
            .reads(SCRIPT),
        Entry::of("scripts/delete", "DELETE", "/scripts/{name}")
            .needs(NEEDS)
            .reads(&[("script", "add-capped"), ("index", "scripts")]),
        Entry::of("scripts/run", "POST", "/scripts/{name}/run")
            .json(json!({ "keys": ["visits"], "args": ["5", "100"] }))
            .needs(NEEDS)
            .reads(SCRIPT),
    ]
}

fn keys() -> Vec<Entry> {
    const CHANGED: &[(&str, &str)] = &[("caller_key", "{key_id}"), ("caller_keys", "version")];
    const NEEDS: &[Seed] = &[Seed::Key];
    vec![
        Entry::of("keys/create", "POST", "/keys")
            .json(json!({ "name": "n", "scopes": ["accounts:read"], "spaces": ["main"] }))
            .needs(&[Seed::RootKey])
            .reads(&[("caller_keys", "version"), ("index", "caller_keys")]),
        Entry::of("keys/list", "GET", "/keys")
            .needs(NEEDS)
            .reads(&[("caller_key", "{key_id}"), ("index", "caller_keys")]),
        Entry::of("keys/get", "GET", "/keys/{key_id}")
            .needs(NEEDS)
            .reads(&[("caller_key", "{key_id}")]),
        Entry::of("keys/update", "PATCH", "/keys/{key_id}")
            .json(json!({ "disabled": true }))
            .needs(NEEDS)
            .reads(CHANGED),
        Entry::of("keys/rotate", "POST", "/keys/rotate")
            .json(json!({ "key_id": "{key_id}" }))
            .needs(NEEDS)
            .reads(CHANGED),
        Entry::of("keys/revoke", "POST", "/keys/revoke")
            .json(json!({ "key_id": "{key_id}" }))
            .needs(NEEDS)
            .reads(&[
                ("caller_key", "{key_id}"),
                ("caller_keys", "version"),
                ("index", "caller_keys"),
            ]),
    ]
}

/// A space with what an entry needs, and the ids that were generated for it.
pub struct Seeded {
    pub service: Service,
    ids: Vec<(&'static str, String)>,
}

impl Seeded {
    /// Seeds a new space of this service.
    pub async fn new(service: &Service, seeds: &[Seed]) -> Seeded {
        let mut ids: Vec<(&'static str, String)> = [
            ("{account_id}", "alice"),
            ("{product_id}", "espresso-cup"),
            ("{customer_id}", "carol"),
            ("{lock}", "nightly-report"),
            ("{counter}", "seats-left"),
            ("{key}", "report"),
            ("{policy}", "api"),
            ("{name}", "add-capped"),
            ("{version}", "1"),
        ]
        .map(|(place, id)| (place, id.to_owned()))
        .into();
        let mut service = service.in_new_space();
        let id = |body: Value, name: &str| body[name].as_str().unwrap().to_owned();
        for seed in seeds {
            match seed {
                Seed::Accounts => {
                    service.open("alice", "500").await;
                    service.open("bob", "200").await;
                    service.open("hotel", "0").await;
                }
                Seed::Frozen => {
                    service.open("dave", "0").await;
                    service.freeze("dave", "both").await;
                }
                Seed::Hold => ids.push(("{hold_id}", service.held("bob", "hotel", "120").await)),
                Seed::Payment => {
                    let body = service.transfer("alice", "bob", "2.50").await.assert(201);
                    let transaction_id = id(body, "transaction_id");
                    let key = service.transactions_key(&transaction_id);
                    let second = key.rsplit(':').next().unwrap().to_owned();
                    ids.extend([
                        ("{transaction_id}", transaction_id),
                        ("{transaction_second}", second),
                    ]);
                }
                Seed::Product => {
                    let body = json!({
                        "product_id": "espresso-cup", "name": "Espresso cup", "price": "7.90",
                        "initial_stock": 100, "max_per_customer": 50
                    });
                    service.post("/inventory/products", body).await.assert(201);
                }
                Seed::Reservation => {
                    let body = service.reserve("espresso-cup", 1, 600_000).await.assert(201);
                    ids.push(("{reservation_id}", id(body, "reservation_id")));
                }
                Seed::Lock => {
                    let body = service.acquire("nightly-report", "worker-7", 60_000).await;
                    let lease = body.assert(201);
                    // With its quotes: a number stands in the place of a text.
                    ids.push(("\"{fencing_token}\"", lease["fencing_token"].to_string()));
                    ids.push(("{lease_id}", id(lease, "lease_id")));
                }
                Seed::Policies => {
                    let bucket = json!({
                        "capacity": 50, "refill_tokens": 1, "refill_interval_ms": 60_000
                    });
                    let leases =
                        json!({ "algorithm": "concurrency", "limit": 5, "ttl_ms": 60_000 });
                    service.put("/ratelimit/policies/api", bucket).await.assert(201);
                    service.put("/ratelimit/policies/exports", leases).await.assert(201);
                }
                Seed::Taken => {
                    for policy in ["api", "exports"] {
                        let check = json!({ "key": "tenant-7", "policy": policy });
                        let body = service.post("/ratelimit", check).await.assert(200);
                        if policy == "exports" {
                            ids.push(("{limit_lease_id}", id(body, "lease_id")));
                        }
                    }
                }
                Seed::Cached => {
                    let body = json!({
                        "key": "report", "value": "42", "ttl_ms": 60_000, "tags": ["daily"]
                    });
                    service.post("/cache/set", body).await.assert(200);
                }
                Seed::Filling => {
                    let body = json!({ "key": "account:bob:summary", "lease_ms": 60_000 });
                    let lease = service.post("/cache/get", body).await.assert(200);
                    ids.push(("{lease_token}", id(lease, "lease_token")));
                }
                Seed::Counter => drop(service.increment("seats-left", 48).await.assert(200)),
                Seed::Script => {
                    for source in ["return redis.call('INCRBY', KEYS[1], ARGV[1])", ADD_CAPPED] {
                        let body = json!({
                            "source": source, "keys": ["total"], "args": ["amount", "limit"]
                        });
                        let put = service.put("/scripts/add-capped", body).await;
                        assert!(put.status.is_success(), "{:#}", put.body);
                    }
                }
                Seed::RootKey => service = service.with_key_of_process(),
                Seed::Key => {
                    service = service.with_key_of_process();
                    let body = json!({ "name": "test", "scopes": ["*"], "spaces": ["*"] });
                    let made = service.post("/keys", body).await.assert(201);
                    ids.push(("{key_id}", id(made, "key_id")));
                }
                Seed::Data => {
                    let body = json!({ "values": { "balance": "42" } });
                    service.post("/batch/set", body).await.assert(200);
                }
            }
        }
        Seeded { service, ids }
    }

    /// A text with the ids of this space in the places of `{hold_id}` and the like.
    pub fn fill(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (place, id)| text.replace(place, id))
    }

    /// The call of an entry in this space.
    pub fn call(&self, entry: &Entry) -> Call {
        self.call_with(entry, &entry.body)
    }

    /// The call of an entry in this space, with another body.
    pub fn call_with(&self, entry: &Entry, body: &Value) -> Call {
        let call = self.service.call(entry.method, &self.fill(entry.path));
        match body {
            Value::Null => call,
            body => call.json(serde_json::from_str(&self.fill(&body.to_string())).unwrap()),
        }
    }
}

/// Every operation that callers can reach has an entry, and each entry is a call that succeeds.
#[tokio::test]
async fn every_operation_has_a_valid_call() {
    let entries = catalogue();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name).collect();
    let library = Library::embedded();
    let public = library.iter().filter(|script| !script.header.internal);
    let public: BTreeSet<&str> = public.map(|script| script.name).collect();
    assert_eq!(names, public);
    let service = Service::new();
    for entry in &entries {
        let seeded = Seeded::new(&service, entry.needs).await;
        let answer = seeded.call(entry).await;
        assert!(answer.status.is_success(), "{}: {:#}", entry.name, answer.body);
        assert!(!answer.body.is_null(), "{}", entry.name);
        // A second space has the same content, so the call succeeds there with the same status.
        let again = Seeded::new(&service, entry.needs).await;
        assert_eq!(again.call(entry).await.status, answer.status, "{}", entry.name);
        if !entry.is_command() {
            let before = seeded.service.snapshot();
            seeded.call(entry).await.assert(200);
            seeded.service.assert_unchanged(&before);
        }
    }
}

/// Method and path of each entry are those of the OpenAPI document, and the document has no other
/// operations but those of the service itself and `POST /bulk`, whose body is a stream.
#[test]
fn entries_and_the_document_have_the_same_operations() {
    let document = app::document("");
    let mut others = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let id = described["operationId"].as_str().unwrap().replace('/', "_");
            let entries = catalogue();
            let entry = entries.iter().find(|entry| entry.name.replace('/', "_") == id);
            match entry {
                Some(entry) => {
                    assert_eq!(entry.path.split('?').next(), Some(path.as_str()), "{id}");
                    assert_eq!(entry.method.to_lowercase(), *method, "{id}");
                }
                None => drop(others.insert(format!("{method} {path}"))),
            }
        }
    }
    let system = [
        "get /cache/stats",
        "get /health",
        "get /keys/self",
        "get /livez",
        "get /metrics",
        "get /monitoring/connections",
        "get /monitoring/contention",
        "get /monitoring/failures",
        "get /monitoring/scripts",
        "get /monitoring/transactions",
        "get /problems",
        "get /problems/{code}",
        // The script of a check, answered without a body.
        "get /ratelimit/authorize",
        "get /readyz",
        "get /scripts/cache",
        "post /bulk",
        "post /scripts/flush",
        "post /scripts/kill",
        "post /scripts/validate",
        "post /scripts/{name}/profile",
        "post /scripts/{name}/trace",
    ];
    assert_eq!(others, BTreeSet::from(system.map(str::to_owned)));
}
