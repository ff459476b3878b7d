//! Waiting for a lock: order, wake-ups, and callers who go away.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{acquire, queue_of, release};
use crate::support::{Process, Server, Service, race, redis_url};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_hands_the_lock_to_the_first_who_waits() {
    let service = Service::new();
    let first = acquire(&service, json!({})).await.assert(201);
    let waiting =
        tokio::spawn(acquire(&service, json!({ "owner": "you", "wait_ms": 20_000 })).into_future());
    let seen = queue_of(&service, "l", 1).await;
    assert_eq!(seen["queue"][0]["owner"], "you");
    assert_eq!(seen["queue"][0]["mode"], "exclusive");
    let started = Instant::now();
    release(&service, "l", &first["lease_id"]).await.assert(200);
    let second = waiting.await.unwrap().assert(201);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(second["fencing_token"].as_u64() > first["fencing_token"].as_u64());
    assert_eq!(queue_of(&service, "l", 0).await["holders"][0]["owner"], "you");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_gets_the_lock_when_the_lease_expires() {
    let service = Service::new();
    let first = acquire(&service, json!({ "ttl_ms": 400 })).await.assert(201);
    let second = acquire(&service, json!({ "owner": "you", "wait_ms": 20_000 })).await.assert(201);
    assert!(second["fencing_token"].as_u64() > first["fencing_token"].as_u64());
    assert!(second["waited_ms"].as_u64().unwrap() < 15_000);
    release(&service, "l", &first["lease_id"]).await.expect_problem(410, "lease_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_are_served_in_their_order() {
    let service = Service::new();
    let mut lease = acquire(&service, json!({})).await.assert(201);
    let mut waiting = Vec::new();
    for number in 0..8 {
        let body = json!({ "owner": format!("w{number}"), "wait_ms": 20_000 });
        waiting.push(tokio::spawn(acquire(&service, body).into_future()));
        queue_of(&service, "l", number + 1).await;
    }
    for (number, waiter) in waiting.into_iter().enumerate() {
        release(&service, "l", &lease["lease_id"]).await.assert(200);
        lease = waiter.await.unwrap().assert(201);
        assert_eq!(lease["owner"], format!("w{number}"));
    }
    release(&service, "l", &lease["lease_id"]).await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_back_lets_nobody_overtake() {
    let service = Service::new();
    let holder = acquire(&service, json!({ "ttl_ms": 86_400_000 })).await.assert(201);
    let wait = |owner: &str| {
        let body = json!({ "owner": owner, "wait_ms": 25_000 });
        tokio::spawn(acquire(&service, body).into_future())
    };
    let first = wait("first");
    queue_of(&service, "l", 1).await;
    service.advance_ms(-60_000);
    let second = wait("second");
    assert_eq!(queue_of(&service, "l", 2).await["queue"][0]["owner"], "first");
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    let lease = first.await.unwrap().assert(201);
    release(&service, "l", &lease["lease_id"]).await.assert(200);
    second.await.unwrap().assert(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_ends_in_vain_leaves_the_queue() {
    let service = Service::new();
    acquire(&service, json!({})).await.assert(201);
    let answer = acquire(&service, json!({ "owner": "you", "wait_ms": 300 })).await;
    let refused = answer.expect_problem(409, "lock_wait_timeout");
    assert_eq!(refused["queue_position"], 1);
    assert_eq!(refused["holders"][0]["owner"], "me");
    assert!(refused["waited_ms"].as_u64().unwrap() >= 300);
    queue_of(&service, "l", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overtakes_those_who_wait() {
    let service = Service::new();
    let reader = acquire(&service, json!({ "mode": "shared" })).await.assert(201);
    let writer = tokio::spawn(
        acquire(&service, json!({ "owner": "writer", "wait_ms": 20_000 })).into_future(),
    );
    queue_of(&service, "l", 1).await;
    // A reader could enter beside the reader, but a writer waits.
    let refused = acquire(&service, json!({ "mode": "shared" })).await;
    let refused = refused.expect_problem(409, "lock_held");
    assert_eq!(refused["queue_length"], 1);
    release(&service, "l", &reader["lease_id"]).await.assert(200);
    writer.await.unwrap().assert(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_enter_together_after_the_writer() {
    let service = Service::new();
    let writer = acquire(&service, json!({})).await.assert(201);
    let readers = race(10, |number| {
        let body = json!({ "mode": "shared", "owner": format!("r{number}"), "wait_ms": 20_000 });
        acquire(&service, body)
    });
    queue_of(&service, "l", 10).await;
    release(&service, "l", &writer["lease_id"]).await.assert(200);
    assert_eq!(readers.await.count(201), 10);
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!((&seen["holder_count"], &seen["mode"]), (&json!(10), &json!("shared")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_the_queue_at_once() {
    let service = Service::new();
    let first = acquire(&service, json!({})).await.assert(201);
    let gone = tokio::spawn(
        acquire(&service, json!({ "owner": "gone", "wait_ms": 25_000 })).into_future(),
    );
    queue_of(&service, "l", 1).await;
    let second = tokio::spawn(
        acquire(&service, json!({ "owner": "second", "wait_ms": 25_000 })).into_future(),
    );
    queue_of(&service, "l", 2).await;
    gone.abort();
    let seen = queue_of(&service, "l", 1).await;
    assert_eq!(seen["queue"][0]["owner"], "second");
    release(&service, "l", &first["lease_id"]).await.assert(200);
    second.await.unwrap().assert(201);
}

/// A caller may go away at any moment of its call. Whichever it is, the lock is free afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_to_a_caller_who_has_gone_is_given_back() {
    let service = Service::new();
    for polls in 0..60 {
        let call = acquire(&service, json!({ "wait_ms": 1000 })).into_future();
        let mut call = std::pin::pin!(Some(call));
        let mut given = false;
        for _ in 0..polls {
            let Some(future) = call.as_mut().as_pin_mut() else { break };
            if let std::task::Poll::Ready(answer) = futures_util::poll!(future) {
                let lease = answer.assert(201);
                release(&service, "l", &lease["lease_id"]).await.assert(200);
                given = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        call.set(None);
        let body = json!({ "owner": "next", "wait_ms": 20_000 });
        let lease = acquire(&service, body).await.assert(201);
        assert!(lease["waited_ms"].as_u64().unwrap() < 20_000, "{polls} {given}");
        release(&service, "l", &lease["lease_id"]).await.assert(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_a_wait_with_an_answer() {
    let service = Service::new();
    acquire(&service, json!({})).await.assert(201);
    let other = Service::new();
    let waiting = acquire(&other.in_space(&service.space), json!({ "wait_ms": 25_000 }));
    let waiting = tokio::spawn(waiting.into_future());
    queue_of(&service, "l", 1).await;
    other.store.drain();
    waiting.await.unwrap().expect_problem(503, "shutting_down");
    assert_eq!(service.get("/locks/l").await.assert(200)["queue_length"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_prefer_asks_for_a_wait() {
    let service = Service::new();
    acquire(&service, json!({})).await.assert(201);
    let answer = acquire(&service, json!({})).header("prefer", "respond-async, wait=1; x").await;
    answer.expect_problem(409, "lock_wait_timeout");
    // The body comes first.
    let call = acquire(&service, json!({ "wait_ms": 0 }));
    call.header("prefer", "wait=20").await.expect_problem(409, "lock_held");
    for ignored in ["wait=x", "wait", "wait=-1", "return=minimal"] {
        let answer = acquire(&service, json!({})).header("prefer", ignored).await;
        answer.expect_problem(409, "lock_held");
    }
    let call = acquire(&service, json!({ "lock": "free" })).header("prefer", "wait=\"7\"");
    assert_eq!(call.await.header("preference-applied"), Some("wait=7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_waiters_share_one_subscription() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let holder = acquire(&service, json!({})).await.assert(201);
    let waiting = race(300, |number| {
        let (service, owner) = (service.clone(), format!("w{number}"));
        async move {
            let body = json!({ "owner": owner, "mode": "shared", "wait_ms": 25_000 });
            acquire(&service, body).await.assert(201);
        }
    });
    queue_of(&service, "l", 300).await;
    let clients: String = redis::cmd("CLIENT")
        .arg("LIST")
        .arg("TYPE")
        .arg("pubsub")
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(clients.lines().count(), 1, "{clients}");
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    waiting.await;
}

/// Messages of scripts to processes with waiters.
struct Messages(redis::Connection);

impl Messages {
    fn of(server: &Server) -> Messages {
        let mut connection = server.connection();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        redis::cmd("PSUBSCRIBE").arg("lockstep:process:*").exec(&mut connection).unwrap();
        Messages(connection)
    }

    /// The next message that is no heartbeat: the number of a waiter, and after how many milliseconds it should try.
    fn next(&mut self) -> (u64, u64) {
        loop {
            let message = redis::Msg::from_owned_value(self.0.recv_response().unwrap()).unwrap();
            let text: String = message.get_payload().unwrap();
            if let Some((number, ms)) = text.split_once(' ') {
                return (number.parse().unwrap(), ms.parse().unwrap());
            }
        }
    }
}

/// The numbers of those who wait for the lock `l`, in their order.
fn numbers(service: &Service) -> Vec<u64> {
    let waiters: Vec<String> = redis::cmd("ZRANGE")
        .arg(service.key("lock_queue", "l"))
        .arg(0)
        .arg(-1)
        .query(&mut service.raw())
        .unwrap();
    waiters.iter().map(|waiter| waiter.split(':').nth(1).unwrap().parse().unwrap()).collect()
}

/// Whatever changes a lock tells the first who waits, and nobody else, when to try.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_who_waits_is_told_of_each_change() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    let holder = acquire(&service, json!({})).await.assert(201);
    let mut calls = Vec::new();
    for (length, wait_ms) in [(1, 25_000), (2, 3000), (3, 25_000), (4, 25_000)] {
        let body = json!({ "owner": "you", "wait_ms": wait_ms });
        calls.push(tokio::spawn(acquire(&service, body).into_future()));
        queue_of(&service, "l", length).await;
    }
    let waiting = numbers(&service);
    let mut messages = Messages::of(&server);
    let mut expect = |number: u64, ms: std::ops::RangeInclusive<u64>, event: &str| {
        let message = messages.next();
        assert!(message.0 == number && ms.contains(&message.1), "{event}: {message:?}");
    };
    let day = 86_000_000..=86_400_000;

    let body = json!({ "lock": "l", "lease_id": holder["lease_id"], "ttl_ms": 86_400_000 });
    service.post("/locks/renew", body).await.assert(200);
    expect(waiting[0], day.clone(), "the lease was renewed");
    calls[0].abort();
    expect(waiting[1], day.clone(), "the first has gone");
    expect(waiting[2], day, "the wait of the first is over");
    let body = json!({ "lock": "l", "reason": "it hangs" });
    service.post("/locks/break", body).await.assert(200);
    expect(waiting[2], 0..=0, "the lock was broken");
    expect(waiting[3], 50_000..=60_000, "the lock was acquired");
    let lease = calls.remove(2).await.unwrap().assert(201);
    release(&service, "l", &lease["lease_id"]).await.assert(200);
    expect(waiting[3], 0..=0, "the lock was released");
    calls.remove(2).await.unwrap().assert(201);
}

/// Messages only make it fast: without a right to hear them, heartbeats let waiters get on.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_get_on_without_messages() {
    let server = Server::start(&[]);
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("deaf").arg(&["on", ">secret", "~*", "&*", "+@all", "-subscribe"]);
    command.exec(&mut server.connection()).unwrap();
    let url = server.url.replace("redis://", "redis://deaf:secret@");
    let service = Service::with(|settings| settings.url.clone_from(&url));
    let mut lease = acquire(&service, json!({})).await.assert(201);
    for _ in 0..3 {
        let body = json!({ "wait_ms": 25_000 });
        let waiting = tokio::spawn(acquire(&service, body).into_future());
        queue_of(&service, "l", 1).await;
        release(&service, "l", &lease["lease_id"]).await.assert(200);
        lease = waiting.await.unwrap().assert(201);
    }
}

/// A client that closes its connection, and a service that is told to stop, over real sockets.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_connection_or_with_the_service() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut process = Process::start(&["--redis-url", redis_url()]);
    let service = Service::new();
    acquire(&service, json!({})).await.assert(201);
    let body = json!({ "lock": "l", "owner": "you", "wait_ms": 25_000 }).to_string();
    let request = format!(
        "POST /locks HTTP/1.1\r\nHost: localhost\r\nLockstep-Space: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        service.space,
        body.len()
    );
    let connect = async || {
        let mut stream = tokio::net::TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let gone = connect().await;
    queue_of(&service, "l", 1).await;
    drop(gone);
    queue_of(&service, "l", 0).await;
    let mut waiting = connect().await;
    queue_of(&service, "l", 1).await;
    process.signal(rustix::process::Signal::TERM);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("shutting_down"), "{answer}");
    assert!(process.wait().success());
    assert_eq!(service.get("/locks/l").await.assert(200)["queue_length"], 0);
}
