//! Somebody else has written under our keys: every script ends in a clean error and writes nothing.

use serde_json::{Value, json};

use crate::support::{Server, Service, seed};

/// A path, a body for a command, and the keys that the script reads: kind and id. `$hold` and `$tx`
/// are a hold and a transaction from alice to bob.
type Call = (&'static str, Option<Value>, Vec<(&'static str, &'static str)>);

fn calls() -> Vec<Call> {
    let account = vec![("account", "alice"), ("postings", "alice")];
    let held = vec![("account", "alice"), ("account_holds", "alice")];
    let parties =
        vec![("account", "alice"), ("account", "bob"), ("postings", "alice"), ("postings", "bob")];
    let stock = vec![
        ("product", "cup"),
        ("product_holds", "cup"),
        ("movements", "cup"),
        ("reservation", "$res"),
        ("once", "k"),
    ];
    let product = vec![("product", "cup"), ("product_holds", "cup")];
    vec![
        (
            "/accounts",
            Some(json!({ "account_id": "new", "initial_balance": "1" })),
            vec![
                ("account", "new"),
                ("external", "accounts"),
                ("postings", "new"),
                ("index", "accounts"),
                ("once", "k"),
            ],
        ),
        (
            "/accounts/transfer",
            Some(json!({ "from_account": "alice", "to_account": "bob", "amount": "1" })),
            vec![
                ("account", "alice"),
                ("account", "bob"),
                ("postings", "alice"),
                ("postings", "bob"),
                ("once", "k"),
            ],
        ),
        (
            "/accounts/deposit",
            Some(json!({ "account_id": "alice", "amount": "1" })),
            [account.clone(), vec![("external", "accounts"), ("once", "k")]].concat(),
        ),
        (
            "/accounts/withdraw",
            Some(json!({ "account_id": "alice", "amount": "1" })),
            [account.clone(), vec![("external", "accounts"), ("once", "k")]].concat(),
        ),
        ("/accounts/alice", None, account.clone()),
        ("/accounts/alice/balance", None, vec![("account", "alice")]),
        ("/accounts/alice/transactions", None, account),
        (
            "/accounts/hold",
            Some(
                json!({ "from_account": "alice", "to_account": "bob", "amount": "1", "ttl_ms": 9 }),
            ),
            [held.clone(), vec![("account", "bob"), ("once", "k")]].concat(),
        ),
        (
            "/accounts/capture",
            Some(json!({ "hold_id": "$hold" })),
            [held.clone(), parties.clone(), vec![("hold", "$hold"), ("once", "k")]].concat(),
        ),
        (
            "/accounts/release",
            Some(json!({ "hold_id": "$hold" })),
            [held.clone(), vec![("hold", "$hold"), ("once", "k")]].concat(),
        ),
        (
            "/accounts/extend",
            Some(json!({ "hold_id": "$hold", "ttl_ms": 99_000_000 })),
            [held, vec![("hold", "$hold"), ("once", "k")]].concat(),
        ),
        ("/accounts/holds/$hold", None, vec![("hold", "$hold")]),
        (
            "/accounts/reverse",
            Some(json!({ "transaction_id": "$tx" })),
            [parties.clone(), vec![("transaction", "$tx"), ("once", "k")]].concat(),
        ),
        ("/accounts/transactions/$tx", None, vec![("transaction", "$tx")]),
        (
            "/accounts/freeze",
            Some(json!({ "account_id": "alice" })),
            vec![("account", "alice"), ("once", "k")],
        ),
        (
            "/accounts/unfreeze",
            Some(json!({ "account_id": "alice" })),
            vec![("account", "alice"), ("once", "k")],
        ),
        (
            "/accounts/close",
            Some(json!({ "account_id": "bob", "sweep_to": "alice" })),
            [parties, vec![("once", "k")]].concat(),
        ),
        (
            "PATCH /accounts/alice",
            Some(json!({ "overdraft_limit": "5" })),
            vec![("account", "alice"), ("once", "k")],
        ),
        ("/accounts", None, vec![("account", "alice"), ("index", "accounts")]),
        (
            "/accounts/integrity",
            None,
            vec![
                ("account", "alice"),
                ("postings", "alice"),
                ("account_holds", "alice"),
                ("index", "accounts"),
                ("external", "accounts"),
            ],
        ),
        (
            "/inventory/products",
            Some(json!({ "product_id": "new", "name": "n", "price": "1", "initial_stock": 1 })),
            vec![("product", "new"), ("once", "k")],
        ),
        (
            "/inventory/adjust",
            Some(json!({ "product_id": "cup", "delta": 1, "reason": "other" })),
            vec![("product", "cup"), ("once", "k")],
        ),
        (
            "/inventory/reserve",
            Some(json!({ "customer_id": "c", "product_id": "cup", "quantity": 1 })),
            [product, vec![("once", "k")]].concat(),
        ),
        ("/inventory/products/cup", None, vec![("product", "cup")]),
        ("/inventory/reservations/res_1", None, vec![("reservation", "res_1")]),
        ("/inventory/products", None, vec![("product", "cup"), ("index", "products")]),
        ("/inventory/integrity", None, vec![("product", "cup"), ("product_holds", "cup")]),
        ("/inventory/products/cup/movements", None, vec![("product", "cup"), ("movements", "cup")]),
        ("/inventory/customers/carol/reservations", None, vec![("reservations", "carol")]),
        (
            "/inventory/confirm",
            Some(json!({ "reservation_id": "$res" })),
            [stock.clone(), vec![("allowance", "carol/cup")]].concat(),
        ),
        (
            "/inventory/cancel",
            Some(json!({ "reservation_id": "$res" })),
            [stock.clone(), vec![("allowance", "carol/cup")]].concat(),
        ),
        (
            "/inventory/extend",
            Some(json!({ "reservation_id": "$res", "ttl_ms": 80_000_000 })),
            vec![("product", "cup"), ("product_holds", "cup"), ("reservation", "$res")],
        ),
        (
            "PATCH /inventory/products/cup",
            Some(json!({ "price": "2" })),
            vec![("product", "cup"), ("once", "k")],
        ),
        ("/locks", Some(json!({ "lock": "l", "owner": "me" })), vec![("lock", "l"), ("once", "k")]),
        (
            "/locks/renew",
            Some(json!({ "lock": "l", "lease_id": "x", "ttl_ms": 1 })),
            vec![("lock", "l"), ("once", "k")],
        ),
        (
            "/locks/release",
            Some(json!({ "lock": "l", "lease_id": "x" })),
            vec![("lock", "l"), ("once", "k")],
        ),
        ("/locks/l", None, vec![("lock", "l")]),
        (
            "/ratelimit",
            Some(
                json!({ "key": "k", "capacity": 5, "refill_tokens": 1, "refill_interval_ms": 1000 }),
            ),
            vec![("bucket", "k"), ("once", "k")],
        ),
        (
            "/ratelimit",
            Some(
                json!({ "key": "k", "algorithm": "sliding_window", "limit": 5, "window_ms": 1000 }),
            ),
            vec![("window", "k/1000"), ("once", "k")],
        ),
        (
            "/counters/increment",
            Some(json!({ "counter": "n" })),
            vec![("counter", "n"), ("once", "k")],
        ),
        (
            "/counters/decrement",
            Some(json!({ "counter": "n", "min": -5 })),
            vec![("counter", "n"), ("once", "k")],
        ),
        (
            "/counters/set",
            Some(json!({ "counter": "n", "value": 5 })),
            vec![("counter", "n"), ("once", "k")],
        ),
        ("/counters/reset", Some(json!({ "counter": "n" })), vec![("counter", "n"), ("once", "k")]),
        (
            "/counters/batch",
            Some(json!({ "operations": [
                { "counter": "m", "action": "incr", "value": 1 },
                { "counter": "n", "action": "set", "value": 1 }
            ] })),
            vec![("counter", "m"), ("counter", "n"), ("once", "k")],
        ),
        ("/counters/n", None, vec![("counter", "n")]),
        ("DELETE /counters/n", Some(Value::Null), vec![("counter", "n"), ("once", "k")]),
        (
            "/atomic",
            Some(json!({ "operations": [
                { "operation": "counters/increment", "input": { "counter": "n" } },
                { "operation": "accounts/transfer", "input": {
                    "from_account": "alice", "to_account": "bob", "amount": "1"
                } },
                { "operation": "inventory/reserve", "input": {
                    "customer_id": "carol", "product_id": "cup", "quantity": 1
                } }
            ] })),
            vec![
                ("counter", "n"),
                ("account", "alice"),
                ("account", "bob"),
                ("postings", "alice"),
                ("postings", "bob"),
                ("product", "cup"),
                ("product_holds", "cup"),
                ("movements", "cup"),
                ("allowance", "carol/cup"),
                ("reservations", "carol"),
                ("once", "k"),
            ],
        ),
    ]
}

/// The type that each kind of key has when all is well.
fn own_type(kind: &str) -> &'static str {
    match kind {
        "postings" | "movements" => "list",
        "external" => "hash",
        "product_holds" | "account_holds" | "index" | "window" | "reservations" => "zset",
        _ => "string",
    }
}

/// Texts that look like records and are none.
const HAND_MADE: [&str; 17] = [
    "",
    "1",
    "{}",
    "null",
    r#"{"credits":"nan","debits":"0","held":"0","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"credits":"1e3","debits":"inf","held":"0x10","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"credits":"99999999999999999999999999999","debits":"0","held":"0","postings":0,"version":0,"overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"on_hand":5,"reserved":9,"sold":0,"next_due":0,"version":1,"price":"1","currency":"USD","scale":2,"created_at":1,"name":"n","description":null,"metadata":{}}"#,
    r#"{"credits":"1","debits":"0","held":"0","next_due":0,"postings":0,"version":0,"status":"open","overdraft_limit":"0","max_balance":"-1","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"status":"open","amount":"1","captured":"1","released":"1","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"expires_at":9000000000000,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"reversed":"0","amount":"-1","kind":"transfer","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"hold_id":null,"reverses":null,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"reversed":"7","amount":"5","kind":"transfer","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"hold_id":null,"reverses":null,"created_at":1,"description":null,"metadata":{}}"#,
    r#"{"credits":"1","debits":"0","held":"0","next_due":0,"postings":0,"version":0,"status":"suspended","overdraft_limit":"0","max_balance":"","currency":"USD","scale":2,"created_at":1,"metadata":{}}"#,
    r#"{"value":9007199254740993,"expires_at":0}"#,
    r#"{"value":1e3,"expires_at":0}"#,
    r#"{"value":1,"expires_at":-1}"#,
    r#"{"level":nan,"per_token":0,"at":-1}"#,
];

/// A service with something of everything, and the ids that it minted in the places of their names.
struct Prepared {
    service: Service,
    hold_id: String,
    transaction_id: String,
    reservation_id: String,
}

impl Prepared {
    fn named(&self, text: &str) -> String {
        text.replace("$hold", &self.hold_id)
            .replace("$tx", &self.transaction_id)
            .replace("$res", &self.reservation_id)
    }

    async fn call(&self, path: &str, body: Option<&Value>) -> crate::support::Answer {
        let path = self.named(path);
        let Some(body) = body else { return self.service.get(&path).await };
        let body: Value = serde_json::from_str(&self.named(&body.to_string())).unwrap();
        let key = [("idempotency-key", "k")];
        match path.split_once(' ') {
            Some(("PATCH", path)) => self.service.patch(path, body, &key).await,
            Some(("DELETE", path)) => self.service.delete(path, &key).await,
            _ => self.service.post_once(&path, body, "k").await,
        }
    }
}

async fn prepared(service: &Service) -> Prepared {
    let service = service.in_new_space();
    service.open("alice", "100").await;
    service.open("bob", "100").await;
    let body = json!({
        "product_id": "cup", "name": "c", "price": "1", "initial_stock": 100, "max_per_customer": 50
    });
    service.post("/inventory/products", body).await.assert(201);
    let reserved = service.reserve("cup", 2, 600_000).await.assert(201);
    let reservation_id = reserved["reservation_id"].as_str().unwrap().to_owned();
    let hold_id = service.held("alice", "bob", "1").await;
    let paid = service.transfer("alice", "bob", "1").await.assert(201);
    let transaction_id = paid["transaction_id"].as_str().unwrap().to_owned();
    Prepared { service, hold_id, transaction_id, reservation_id }
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_stays() {
    let server = Server::of_this_run();
    let one = Service::alone(&server);
    for (path, body, keys) in calls() {
        for (kind, id) in keys {
            for other in ["string", "list", "hash", "set", "zset"] {
                if other == own_type(kind) {
                    continue;
                }
                let prepared = prepared(&one).await;
                let (service, id) = (&prepared.service, prepared.named(id));
                seed(&mut service.raw(), &service.key(kind, &id), other, "1");
                let before = service.snapshot();
                let answer = prepared.call(path, body.as_ref()).await;
                let place = format!("{path} with a {other} at {kind}:{id}");
                assert_eq!(answer.status.as_u16(), 500, "{place}: {:#}", answer.body);
                let refused = answer.expect_problem(500, "internal_error");
                assert!(!refused["detail"].as_str().unwrap().contains("lockstep:"), "{place}");
                service.assert_unchanged(&before);
            }
        }
    }
}

#[tokio::test]
async fn a_record_made_by_hand_is_an_error_and_stays() {
    let server = Server::of_this_run();
    let one = Service::alone(&server);
    for (path, body, keys) in calls() {
        for (kind, id) in
            keys.into_iter().filter(|(kind, _)| !["list", "zset"].contains(&own_type(kind)))
        {
            for text in HAND_MADE {
                let prepared = prepared(&one).await;
                let (service, id) = (&prepared.service, prepared.named(id));
                seed(&mut service.raw(), &service.key(kind, &id), own_type(kind), text);
                let before = service.snapshot();
                let answer = prepared.call(path, body.as_ref()).await;
                let place = format!("{path} with {text:?} at {kind}:{id}");
                // A record of the idempotency key that is another call's is no fault.
                if kind == "once" && answer.status.as_u16() == 422 {
                    answer.expect_problem(422, "idempotency_key_reused");
                } else {
                    assert_eq!(answer.status.as_u16(), 500, "{place}: {:#}", answer.body);
                    answer.expect_problem(500, "internal_error");
                }
                service.assert_unchanged(&before);
            }
        }
    }
}
