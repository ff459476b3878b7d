use serde_json::{Value, json};

use super::{cancel, confirm, confirm_part, held, reservation, reserve_for};
use crate::support::{HOUR, Paging, Service, assert_rejects_invalid_paging, pages, race};

async fn ids(service: &Service, customer: &str, limit: usize) -> Vec<Vec<String>> {
    let path = format!("/inventory/customers/{customer}/reservations?limit={limit}");
    let id = |it: Value| it["reservation_id"].as_str().unwrap().to_owned();
    let pages = pages(service, &path, "reservations").await;
    pages.into_iter().map(|page| page.into_iter().map(id).collect()).collect()
}

#[tokio::test]
async fn each_entry_equals_the_answer_of_get_newest_first() {
    let service = Service::new();
    service.add_product("cup", 50).await;
    service.add_product("pot", 50).await;
    let mut made = [
        held(&service, &[("cup", 1)]).await,
        held(&service, &[("cup", 2), ("pot", 3)]).await,
        held(&service, &[("cup", 4)]).await,
        held(&service, &[("pot", 5)]).await,
    ];
    confirm(&service, &made[0]).await.assert(200);
    confirm_part(&service, &made[1], &[("pot", 1)], "keep").await.assert(200);
    cancel(&service, &made[2]).await.assert(200);
    reserve_for(&service, "dave", &[("cup", 1)]).await.assert(201);
    made.reverse();
    for statuses in [
        ["held", "cancelled", "held", "confirmed"],
        ["expired", "cancelled", "expired", "confirmed"],
    ] {
        let answer = service.get("/inventory/customers/carol/reservations").await.assert(200);
        let answer = answer["reservations"].as_array().unwrap();
        assert_eq!(answer.len(), 4);
        for (index, one) in answer.iter().enumerate() {
            assert_eq!(*one, reservation(&service, &made[index]).await);
            assert_eq!(one["status"], statuses[index]);
        }
        service.advance_ms(HOUR);
    }
}

#[tokio::test]
async fn pages_contain_each_reservation_once() {
    let service = Service::new();
    service.add_product("cup", 50).await;
    let mut made = Vec::new();
    for number in 0..13 {
        made.push(held(&service, &[("cup", 1)]).await);
        // Reservations of another customer are on no page of hers.
        if number % 3 == 0 {
            reserve_for(&service, "dave", &[("cup", 1)]).await.assert(201);
        }
    }
    made.reverse();
    for limit in [1, 2, 5, 12, 13, 14, 500] {
        let pages = ids(&service, "carol", limit).await;
        assert_eq!(pages.concat(), made, "limit {limit}");
        assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == limit), "{pages:?}");
        assert!(!pages[pages.len() - 1].is_empty(), "{pages:?}");
    }
}

#[tokio::test]
async fn a_customer_without_reservations_has_an_empty_list() {
    let service = Service::new();
    service.add_product("cup", 1).await;
    reserve_for(&service, "carol", &[("cup", 2)]).await.expect_problem(409, "insufficient_stock");
    for customer in ["carol", "nobody"] {
        let path = format!("/inventory/customers/{customer}/reservations");
        assert_eq!(service.get(&path).await.assert(200), json!({ "reservations": [] }));
    }
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    assert_rejects_invalid_paging(
        &service,
        "/inventory/customers/carol/reservations",
        Paging::Ids,
        &[],
    )
    .await;
    let answer = service.get("/inventory/customers/%7B%7D/reservations").await;
    answer.expect_problem(422, "invalid_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_contains_every_concurrent_reservation() {
    let service = Service::new();
    service.add_product("cup", 60).await;
    let tasks = race(100, |_| {
        let service = service.clone();
        async move {
            let answer = reserve_for(&service, "carol", &[("cup", 1)]).await;
            answer.body["reservation_id"].as_str().map(str::to_owned)
        }
    });
    let mut made: Vec<String> = tasks.await.into_iter().flatten().collect();
    assert_eq!(made.len(), 60);
    let mut listed = ids(&service, "carol", 7).await.concat();
    made.sort();
    listed.sort();
    assert_eq!(listed, made);
}
