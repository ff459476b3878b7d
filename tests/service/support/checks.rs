//! Checks that many operations share: pages, paging that is refused, and `If-Match`.

use serde_json::Value;

use super::{Call, Service};

/// The kind of cursor that a list takes, which decides which cursors are invalid.
#[derive(Clone, Copy)]
pub enum Paging {
    /// The id of the last thing of the page before.
    Ids,
    /// The number of the next entry of a log.
    Numbers,
}

/// Requests all pages of a list, and returns the values of the field `list` of each. `path` may have a
/// query already.
pub async fn pages(service: &Service, path: &str, list: &str) -> Vec<Vec<Value>> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut pages = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = service.get(&next).await.assert(200);
        pages.push(page[list].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { return pages };
        next = format!("{path}{separator}cursor={cursor}");
    }
}

/// Panics unless the list at `path` refuses every query that is no valid paging, and `more`.
pub async fn assert_rejects_invalid_paging(
    service: &Service,
    path: &str,
    paging: Paging,
    more: &[&str],
) {
    let limits = ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=1.5", "limit="];
    let unknown = ["page=2", "limit=1&limit=2", "x"];
    let cursors: &[&str] = match paging {
        Paging::Ids => &["cursor=%7B", "cursor="],
        Paging::Numbers => {
            &["cursor=x", "cursor=0", "cursor=1e3", "cursor=99999999999999999999", "cursor="]
        }
    };
    let before = service.snapshot();
    for query in limits.iter().chain(&unknown).chain(cursors).chain(more) {
        let answer = service.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}: {:#}", answer.body);
        answer.expect_problem(400, "invalid_query");
    }
    service.assert_unchanged(&before);
}

/// Panics unless `change` refuses every `If-Match` that does not name `version`, which is the current
/// one, and then succeeds with one that does. Returns the answer's body.
pub async fn assert_if_match(service: &Service, version: u64, change: Call) -> Value {
    let before = service.snapshot();
    let (next, later) = (version + 1, version + 2);
    let others = [
        String::new(),
        "\"\"".to_owned(),
        "nonsense".to_owned(),
        ",".to_owned(),
        format!("\"{next}\""),
        format!("\"{next}\", \"{version}{version}\""),
        format!("W/{version}"),
        format!("\"{next} {version} {later}\""),
        format!("\"0{version}\""),
        format!("\"{version} \""),
        format!("{version}.0"),
    ];
    for tags in &others {
        let refused = change.clone().if_match(tags).await.expect_problem(412, "version_mismatch");
        assert_eq!(refused["version"], version, "{tags}");
    }
    let stale = change.clone().if_match(format!("\"{next}\"")).await;
    let stale = stale.expect_problem(412, "version_mismatch");
    assert_eq!(stale["expected"], next.to_string());
    let stale = change.clone().if_match(format!("\"{next}\", \"{later}\"")).await;
    assert_eq!(
        stale.expect_problem(412, "version_mismatch")["detail"],
        format!("The version is {version}, and If-Match asks for {next} {later}.")
    );
    service.assert_unchanged(&before);
    let changed = change.if_match(format!("\"{version}\"")).await;
    assert_eq!(changed.header("etag"), Some(format!("\"{next}\"").as_str()));
    changed.assert(200)
}
