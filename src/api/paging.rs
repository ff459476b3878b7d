//! Pages of lists and of logs: the query parameters of a page, and how the store is read for one.
//!
//! A list is a sorted set of ids with a record for each. [`KeysetScan`] reads a page of it for the
//! endpoints that list accounts, products and reservations or check stock; the check of the books
//! reads the whole list in [`ScanStep`]s. A log is a Redis list of numbered entries. [`LogRange`] and
//! [`LogPage`] read a page of it for the endpoints of transactions and movements.

use serde::Deserialize;
use utoipa::IntoParams;

use super::Problem;
use crate::{
    store::{Context, Invocation, Operation, Store},
    types::{
        Id, codes,
        limits::{DEFAULT_PAGE, MAX_PAGE},
    },
};

/// The query parameters of a list that has no filters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The most items of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the first page is answered.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    pub cursor: Option<String>,
}

/// The query parameters of a page of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogPageQuery {
    /// The most entries of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the page begins with the newest entry.
    #[param(pattern = "^[1-9][0-9]{0,14}$")]
    pub cursor: Option<String>,
}

impl Page {
    /// The limit of a page whose caller names none.
    pub fn default_limit() -> u64 {
        DEFAULT_PAGE
    }
}

/// The most ids that one filtered page scans, however few of their records pass the filter.
const MAX_SCANNED: usize = 5000;

/// One call of a keyset scan.
///
/// Redis allows a script only the keys that it was given. So a call reads the records of `ids`, which
/// the call before it has listed, and lists the ids that the next call reads.
#[derive(Debug)]
pub struct ScanStep {
    /// The ids whose records the call reads, in the order of the list.
    pub ids: Vec<Id>,
    /// The id that the listed ones follow; `None` for the beginning of the list.
    after: Option<Id>,
    /// The most ids that the call lists.
    pub count: u64,
}

impl ScanStep {
    /// The first call. It reads no record and lists `count` ids from the beginning of the list.
    pub fn first(count: u64) -> ScanStep {
        ScanStep { ids: Vec::new(), after: None, count }
    }

    /// The call that reads `ids` and lists the `count` ids that follow them.
    pub fn reading(ids: Vec<Id>, count: u64) -> ScanStep {
        ScanStep { after: ids.last().cloned(), ids, count }
    }

    /// The id that the listed ones follow, as scripts take it: empty for the beginning of the list.
    pub fn after(&self) -> &str {
        self.after.as_ref().map_or("", Id::as_str)
    }
}

/// The reply to one call of a keyset scan.
#[derive(Debug, Deserialize)]
pub struct ListReply<T> {
    /// The records of the ids that were read. A record that has expired is left out. Each script's
    /// header names this field after what it lists.
    #[serde(
        alias = "accounts",
        alias = "products",
        alias = "reservations",
        alias = "policies",
        alias = "locks",
        alias = "scripts",
        alias = "keys"
    )]
    pub items: Vec<T>,
    /// The ids that the next call reads; none at the end of the list.
    pub next: Vec<Id>,
}

/// A record that stands in a list under its id.
pub trait Listed {
    /// The id, which is the cursor of a page that ends with this record.
    fn id(&self) -> &str;
}

/// One page of a list.
#[derive(Debug)]
pub struct ListPage<T> {
    /// The records, in the order of the list.
    pub items: Vec<T>,
    /// The id after which the next page begins; `None` on the last page.
    pub next_cursor: Option<String>,
}

/// A scan that reads one page of a list.
#[derive(Debug)]
pub struct KeysetScan {
    limit: usize,
    after: Option<Id>,
    max_scanned: usize,
}

impl KeysetScan {
    /// A scan for the `limit` records that follow the id `cursor`.
    ///
    /// # Errors
    ///
    /// `invalid_query` where `limit` is not 1 to 500, or `cursor` is no id.
    pub fn new(limit: u64, cursor: Option<String>) -> Result<KeysetScan, Problem> {
        let limit = page_limit(limit)?;
        Ok(KeysetScan { limit, after: id_cursor(cursor)?, max_scanned: limit })
    }

    /// Lets the scan go on past records that a filter leaves out, for at most 5,000 ids.
    #[must_use]
    pub fn filtered(mut self) -> KeysetScan {
        self.max_scanned = MAX_SCANNED;
        self
    }

    /// Reads the page: runs `operation` for one step after another, and takes the records that `keep`
    /// accepts, until the page is full, the list ends or enough ids have been scanned.
    ///
    /// # Errors
    ///
    /// The refusal or failure of a call.
    pub async fn page<T: Listed, O: Operation<Reply = ListReply<T>>>(
        self,
        store: &Store,
        context: &Context,
        operation: impl Fn(ScanStep) -> O,
        keep: impl Fn(&T) -> bool,
    ) -> Result<ListPage<T>, Problem> {
        let count = self.limit as u64;
        let mut step = ScanStep { ids: Vec::new(), after: self.after, count };
        let (mut items, mut scanned) = (Vec::new(), 0);
        loop {
            scanned += step.ids.len();
            let is_last = scanned >= self.max_scanned;
            if is_last {
                // Nothing is read after this call, so it only has to find out whether ids follow.
                step.count = 1;
            }
            let after = step.after.clone();
            let ListReply { items: found, next } =
                store.run(&operation(step), context).await?.reply;
            items.extend(found.into_iter().filter(&keep));
            if is_last || items.len() >= self.limit || next.is_empty() {
                return Ok(ListPage::new(items, self.limit, after, !next.is_empty()));
            }
            step = ScanStep::reading(next, count);
        }
    }
}

impl<T: Listed> ListPage<T> {
    /// Cuts `items` to `limit`. `after` is the last id that was scanned, and `ids_follow` says
    /// whether the list has more after it.
    fn new(mut items: Vec<T>, limit: usize, after: Option<Id>, ids_follow: bool) -> ListPage<T> {
        let has_more = ids_follow || items.len() > limit;
        items.truncate(limit);
        // A full page ends with its last record. Behind that of a shorter page, the filter has left
        // out everything that was scanned.
        let last = items.last().filter(|_| items.len() == limit).map(Listed::id);
        let end = last.or(after.as_ref().map(Id::as_str));
        let next_cursor = end.filter(|_| has_more).map(str::to_owned);
        ListPage { items, next_cursor }
    }
}

/// The part of a log that a page shows. The entries of a log are numbered from 1, the oldest first.
#[derive(Debug)]
pub struct LogRange {
    /// The number of the newest entry of the page; `None` for the newest entry of the log.
    newest: Option<u64>,
    /// The most entries of the page.
    limit: u64,
}

impl LogRange {
    /// The `limit` entries from the number `cursor` on downwards.
    ///
    /// # Errors
    ///
    /// `invalid_query` where `limit` is not 1 to 500, or `cursor` is not a number of 1 to 15 digits.
    pub fn new(limit: u64, cursor: Option<&str>) -> Result<LogRange, Problem> {
        page_limit(limit)?;
        Ok(LogRange { newest: number_cursor(cursor)?, limit })
    }

    /// Binds the arguments `newest` and `limit` of a script that reads a log. The script is asked for
    /// one entry more than the page has, because that one tells whether another page follows.
    pub fn bind(&self, invocation: &mut Invocation) {
        let newest = self.newest.map_or(String::new(), |newest| newest.to_string());
        invocation.arg("newest", newest).arg("limit", self.limit + 1);
    }
}

/// One page of a log.
#[derive(Debug)]
pub struct LogPage<T> {
    /// The entries, the newest first.
    pub entries: Vec<T>,
    /// The number of the entry with which the next page begins; `None` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> LogPage<T> {
    /// The page that a script has read for `range`: `entries` with the oldest first, of which the
    /// last one has the number `newest`.
    pub fn new(range: &LogRange, newest: u64, mut entries: Vec<T>) -> LogPage<T> {
        entries.reverse();
        let has_more = entries.len() as u64 > range.limit;
        if has_more {
            entries.pop();
        }
        let next_cursor = has_more.then(|| (newest - range.limit).to_string());
        LogPage { entries, next_cursor }
    }
}

/// The number of items of a page, which is 1 to 500.
fn page_limit(limit: u64) -> Result<usize, Problem> {
    match usize::try_from(limit) {
        Ok(items) if (1..=MAX_PAGE).contains(&limit) => Ok(items),
        _ => {
            let detail = format_args!("A limit is 1 to {MAX_PAGE}.");
            Err(Problem::new(codes::INVALID_QUERY, detail))
        }
    }
}

/// The cursor of a list: the last id of the page before.
fn id_cursor(cursor: Option<String>) -> Result<Option<Id>, Problem> {
    cursor.map(Id::try_from).transpose().map_err(|_| invalid_cursor())
}

/// The cursor of a log: the number of the first entry of the page, which no log has 10^15 of.
fn number_cursor(cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let is_number = |cursor: &str| {
        (1..=15).contains(&cursor.len())
            && cursor.bytes().all(|byte| byte.is_ascii_digit())
            && !cursor.starts_with('0')
    };
    let number = |cursor: &str| cursor.parse().ok().filter(|_| is_number(cursor));
    cursor.map(|cursor| number(cursor).ok_or_else(invalid_cursor)).transpose()
}

fn invalid_cursor() -> Problem {
    Problem::new(codes::INVALID_QUERY, "The cursor is none that was given here.")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Listed for &str {
        fn id(&self) -> &str {
            self
        }
    }

    #[test]
    fn the_cursor_of_a_list_follows_the_last_record_or_the_last_scanned_id() {
        let scanned = || Some(Id::try_from("z".to_owned()).unwrap());
        for (items, ids_follow, left, cursor) in [
            (vec!["a", "b"], false, vec!["a", "b"], None),
            (vec!["a", "b"], true, vec!["a", "b"], Some("b")),
            (vec!["a", "b", "c"], false, vec!["a", "b"], Some("b")),
            (vec!["a"], true, vec!["a"], Some("z")),
            (vec!["a"], false, vec!["a"], None),
            (vec![], true, vec![], Some("z")),
        ] {
            let page = ListPage::new(items, 2, scanned(), ids_follow);
            assert_eq!((page.items, page.next_cursor.as_deref()), (left, cursor));
        }
    }

    #[test]
    fn the_page_of_a_log_gives_up_the_entry_that_was_read_beyond_it() {
        let range = LogRange::new(2, Some("7")).unwrap();
        let page = LogPage::new(&range, 7, vec![5, 6, 7]);
        assert_eq!((page.entries, page.next_cursor.as_deref()), (vec![7, 6], Some("5")));
        let page = LogPage::new(&range, 2, vec![1, 2]);
        assert_eq!((page.entries, page.next_cursor), (vec![2, 1], None));
    }

    #[test]
    fn rejects_limits_and_cursors_that_no_page_has() {
        for limit in [0, 501, u64::MAX] {
            assert!(KeysetScan::new(limit, None).is_err() && LogRange::new(limit, None).is_err());
        }
        for cursor in ["0", "-1", "+1", "01", "x", "", "1000000000000000"] {
            assert!(LogRange::new(1, Some(cursor)).is_err(), "{cursor}");
        }
        assert!(LogRange::new(500, Some("999999999999999")).is_ok());
        assert!(KeysetScan::new(1, Some("{}".to_owned())).is_err());
    }
}
