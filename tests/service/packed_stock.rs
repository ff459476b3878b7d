//! The step that packs the stock: a store of format 1, word for word as a version of that format wrote it, is
//! migrated, also when it is stopped at any piece, and then answers what it answered before.

use lockstep::store::{Migrated, MigrationStep};
use redis::Commands;
use serde_json::{Value, json};

use crate::{
    format::{connect, migrate_until, set_format},
    support::{Server, Service},
};

const CREATED_AT: i64 = 1_795_709_418_078;
/// 300 years from now, so that no reservation expires.
const EXPIRES_AT: i64 = 11_267_000_000_000;

/// The reservations: one confirmed in part, one cancelled, one as it was made.
const RESERVATIONS: [&str; 3] = [
    "res_0199f6c28f7a7c319d4e52a1b7f0c6a0",
    "res_0199f6c28f7a7c319d4e52a1b7f0c6a1",
    "res_0199f6c28f7a7c319d4e52a1b7f0c6a2",
];

/// Holds, each with its amount and what was captured, in minor units.
const HOLDS: [(&str, [&str; 2]); 2] = [
    ("hold_0199f6c28f7a7c319d4e52a1b7f0c6b0", ["1250", "50"]),
    ("hold_0199f6c28f7a7c319d4e52a1b7f0c6b1", ["9999999999999999999999999999", "1"]),
];

/// Writes what format 1 had of a product, three reservations of it, and a call with an idempotency key.
fn write_format_1(service: &Service) {
    let connection = &mut service.raw();
    let product = format!(
        r#"{{"on_hand":94,"reserved":7,"sold":3,"next_due":{EXPIRES_AT},"movements":8,"version":7,"low_stock":90,"low":1,"max_per_customer":0,"initial":100,"received":0,"returned":0,"damaged":0,"lost":-3,"counted":0,"other":0,"price":"790","currency":"USD","scale":2,"created_at":{CREATED_AT},"name":"a \"cup\"","description":null,"metadata":{{"k":"v"}}}}"#
    );
    let () = connection.set(service.key("product", "cup"), product).unwrap();
    let () = connection.zadd(service.key("index", "products"), "cup", 0).unwrap();
    let movement = |reason: &str,
                    [on_hand_change, reserved_change, on_hand, reserved]: [i64; 4],
                    actor: &str,
                    reference: &str| {
        format!(
            r#"{{"reason":"{reason}","on_hand_change":{on_hand_change},"reserved_change":{reserved_change},"on_hand":{on_hand},"reserved":{reserved},"actor":{actor},"reference":{reference},"created_at":{CREATED_AT}}}"#
        )
    };
    let [kept, cancelled, made] = RESERVATIONS.map(|id| format!("\"{id}\""));
    let movements = [
        movement("initial", [100, 0, 100, 0], "null", "null"),
        movement("lost", [-3, 0, 97, 0], "null", r#""shelf \",\"created_at\":1""#),
        movement("reserved", [0, 5, 97, 5], r#""carol""#, &kept),
        movement("reserved", [0, 5, 97, 10], r#""carol""#, &cancelled),
        movement("reserved", [0, 5, 97, 15], r#""carol""#, &made),
        movement("sold", [-3, -3, 94, 12], r#""carol""#, &kept),
        movement("released", [0, -5, 94, 7], r#""carol""#, &cancelled),
        movement("expired", [0, -1, 94, 7], "null", &made),
    ];
    let () = connection.rpush(service.key("movements", "cup"), &movements).unwrap();
    let holds = service.key("product_holds", "cup");
    for (units, id) in [(2, RESERVATIONS[0]), (5, RESERVATIONS[2])] {
        let () = connection.zadd(&holds, format!("{units}:{id}"), EXPIRES_AT).unwrap();
    }
    let states = [("held", 3, 0), ("cancelled", 0, 5), ("held", 0, 0)];
    for (id, (status, confirmed, released)) in RESERVATIONS.iter().zip(states) {
        let record = format!(
            r#"{{"status":"{status}","created_at":{CREATED_AT},"expires_at":{EXPIRES_AT},"extensions":1,"reservation_id":"{id}","customer_id":"carol","lines":[{{"product_id":"cup","quantity":5,"confirmed":{confirmed},"released":{released}}}]}}"#
        );
        let () = connection.set_ex(service.key("reservation", id), record, 1000).unwrap();
        let () = connection.zadd(service.key("reservations", "carol"), *id, 0).unwrap();
    }
    for (id, [amount, captured]) in HOLDS {
        let record = format!(
            r#"{{"status":"open","amount":"{amount}","captured":"{captured}","released":"0","from_account":"alice","to_account":"bob","currency":"USD","scale":2,"expires_at":{EXPIRES_AT},"created_at":{CREATED_AT},"description":"a \"bed\",","metadata":{{"k":"v"}}}}"#
        );
        let () = connection.set_ex(service.key("hold", id), record, 1000).unwrap();
    }
    for thing in 0..40 {
        let () = connection.set(service.key("counter", &format!("c{thing}")), thing).unwrap();
    }
}

/// Everything that callers can read of the stock.
async fn answers(service: &Service) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in [
        "/inventory/products/cup",
        "/inventory/products",
        "/inventory/products/cup/movements?limit=50",
        "/inventory/customers/carol/reservations",
        "/inventory/integrity",
        "/accounts/holds/hold_0199f6c28f7a7c319d4e52a1b7f0c6b0",
        "/accounts/holds/hold_0199f6c28f7a7c319d4e52a1b7f0c6b1",
    ] {
        answers.push(service.get(path).await.assert(200));
    }
    answers
}

fn expected() -> Vec<Value> {
    let created_at = "2026-11-26T16:10:18.078Z";
    let expires_at = "2327-01-15T02:13:20.000Z";
    let product = json!({
        "product_id": "cup", "name": "a \"cup\"", "description": null, "price": "7.90", "currency": "USD",
        "on_hand": 94, "reserved": 7, "available": 87, "sold": 3, "low_stock": 90, "max_per_customer": null,
        "metadata": { "k": "v" }, "version": 7, "created_at": created_at
    });
    let movement = |reason: &str,
                    [on_hand_change, reserved_change, on_hand, reserved]: [i64; 4],
                    actor: Option<&str>,
                    reference: Option<&str>| {
        json!({
            "reason": reason, "on_hand_change": on_hand_change, "reserved_change": reserved_change,
            "on_hand": on_hand, "reserved": reserved, "actor": actor, "reference": reference,
            "created_at": created_at
        })
    };
    let [kept, cancelled, made] = RESERVATIONS.map(Some);
    let movements = [
        movement("expired", [0, -1, 94, 7], None, made),
        movement("released", [0, -5, 94, 7], Some("carol"), cancelled),
        movement("sold", [-3, -3, 94, 12], Some("carol"), kept),
        movement("reserved", [0, 5, 97, 15], Some("carol"), made),
        movement("reserved", [0, 5, 97, 10], Some("carol"), cancelled),
        movement("reserved", [0, 5, 97, 5], Some("carol"), kept),
        movement("lost", [-3, 0, 97, 0], None, Some("shelf \",\"created_at\":1")),
        movement("initial", [100, 0, 100, 0], None, None),
    ];
    let states = [("held", 0, 0, 5), ("cancelled", 0, 5, 0), ("held", 3, 0, 2)];
    let reservations = RESERVATIONS.iter().rev().zip(states).map(|(id, (status, confirmed, released, held))| {
        json!({
            "reservation_id": id, "customer_id": "carol", "status": status, "extensions": 1,
            "lines": [{
                "product_id": "cup", "quantity": 5, "confirmed": confirmed, "released": released, "held": held
            }],
            "created_at": created_at, "expires_at": expires_at
        })
    });
    let hold = |id: &str, [amount, captured, remaining]: [&str; 3]| {
        json!({
            "hold_id": id, "status": "open", "from_account": "alice", "to_account": "bob", "currency": "USD",
            "amount": amount, "captured": captured, "released": "0.00", "expired": "0.00", "remaining": remaining,
            "expires_at": expires_at, "created_at": created_at, "description": "a \"bed\",",
            "metadata": { "k": "v" }
        })
    };
    vec![
        product.clone(),
        json!({ "products": [product] }),
        json!({ "movements": movements, "history_complete": true }),
        json!({ "reservations": reservations.collect::<Vec<_>>() }),
        json!({
            "ok": true,
            "products": [{ "product_id": "cup", "on_hand": 94, "reserved": 7, "sold": 3, "ok": true }]
        }),
        hold(HOLDS[0].0, ["12.50", "0.50", "12.00"]),
        hold(
            HOLDS[1].0,
            ["99999999999999999999999999.99", "0.01", "99999999999999999999999999.98"],
        ),
    ]
}

/// A server of its own with what format 1 had, and a service that would use it.
fn store_of_format_1() -> (Server, Service) {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    write_format_1(&service);
    set_format(&server, r#"{"format":1}"#);
    (server, service)
}

#[tokio::test]
async fn a_stock_of_format_1_answers_after_the_migration_what_it_answered_before() {
    let (server, service) = store_of_format_1();
    let counters = server.connection().get::<_, u32>(service.key("counter", "c7")).unwrap();
    let steps = &MigrationStep::embedded()[..2];
    let mut admin = connect(&server).await;
    for stop_after in [1, 2, 3] {
        migrate_until(&mut admin, steps, stop_after).await;
    }
    let migrated = admin.migrate(steps, |_, _| {}).await;
    assert_eq!(migrated, Ok(Migrated::Changed { from: 1, to: 2 }));
    assert_eq!(answers(&service).await, expected());
    let ttl: i64 = service.raw().ttl(service.key("reservation", RESERVATIONS[0])).unwrap();
    assert!((900..=1000).contains(&ttl), "{ttl}");
    assert_eq!(service.raw().get::<_, u32>(service.key("counter", "c7")).unwrap(), counters);

    let body = json!({ "reservation_id": RESERVATIONS[0] });
    service.post("/inventory/confirm", body).await.assert(200);
    let body = json!({ "reservation_id": RESERVATIONS[2] });
    service.post("/inventory/cancel", body).await.assert(200);
    assert_eq!(service.stock("cup").await, [92, 0, 92]);
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(answer["ok"], true, "{answer:#}");
}

#[tokio::test]
async fn a_record_that_is_none_stops_the_migration_and_is_named() {
    let (server, service) = store_of_format_1();
    let key = service.key("reservation", "res_0199f6c28f7a7c319d4e52a1b7f0c6a3");
    let () = server.connection().set(&key, r#"{"status":"held"}"#).unwrap();
    let mut admin = connect(&server).await;
    let error = admin.migrate(&MigrationStep::embedded(), |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{key} does not hold a reservation")), "{error}");
    let () = server.connection().del(&key).unwrap();
    admin.migrate(&MigrationStep::embedded(), |_, _| {}).await.unwrap();
}

/// The repeat of a call that was answered before the migration.
#[tokio::test]
async fn a_reservation_is_answered_again_after_the_migration() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 5, "low_stock": 4
    });
    service.post("/inventory/products", body).await.assert(201);
    service.add_product("pot", 9).await;
    let body = json!({
        "customer_id": "carol",
        "lines": [{ "product_id": "cup", "quantity": 2 }, { "product_id": "pot", "quantity": 3 }]
    });
    let first = service.post("/inventory/reserve", body.clone()).key("k").await.assert(201);
    assert_eq!(first["lines"][0]["low_stock"], true);

    // What format 1 remembered of it: the same answer as JSON, with milliseconds, after `ok`.
    let mut json = first.clone();
    for instant in ["created_at", "expires_at"] {
        let moment: jiff::Timestamp = first[instant].as_str().unwrap().parse().unwrap();
        json[instant] = moment.as_millisecond().into();
    }
    let text = |field: &str| json[field].to_string();
    let json = format!(
        r#"{{"reservation_id":{},"customer_id":"carol","status":"held","lines":[{}],"extensions":0,"created_at":{},"expires_at":{}}}"#,
        text("reservation_id"),
        [
            r#"{"product_id":"cup","quantity":2,"confirmed":0,"released":0,"held":2,"remaining":3,"low_stock":true}"#,
            r#"{"product_id":"pot","quantity":3,"confirmed":0,"released":0,"held":3,"remaining":6}"#,
        ]
        .join(","),
        text("created_at"),
        text("expires_at"),
    );
    let key = service.key("once", "k");
    let record: Vec<u8> = service.raw().get(&key).unwrap();
    let length = u16::try_from(json.len()).unwrap().to_be_bytes();
    let reply = [&[0x92, 0xa2][..], b"ok", &[0xda], &length, json.as_bytes()].concat();
    let () = service.raw().set_ex(&key, [&record[..40], &reply].concat(), 1000).unwrap();
    set_format(&server, r#"{"format":1}"#);
    connect(&server).await.migrate(&MigrationStep::embedded(), |_, _| {}).await.unwrap();

    let again = service.post("/inventory/reserve", body).key("k").await;
    assert!(again.replayed());
    assert_eq!(again.assert(201), first);
}
