//! `GET /monitoring/transactions`: counts, refusals and durations of calls, of all processes together.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::window::{HOUR_MS, Period, Span, context, operation_of};
use crate::{
    api::{Problem, Query},
    store::{Context, Failure, Invocation, Operation, RedisValue, Store},
    telemetry::CallWindow,
    types::{Code, Timestamp, codes},
};

/// The most hours back.
const MAX_HOURS: u64 = 168;

/// The most hours back that are answered by the minute.
const MAX_HOURS_BY_MINUTE: u64 = 6;

/// The most windows that one script reads. It takes Redis well under a millisecond.
const PERIODS_PER_SCRIPT: usize = 30;

/// The query parameters of the statistics.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransactionsQuery {
    /// Hours back from now, 1 to 168; 24 by default, and 6 by the minute. Up to 24 they are exact to the minute; more
    /// begin with a full hour.
    #[param(minimum = 1, maximum = 168, example = 24)]
    pub hours: Option<u64>,
    /// The parts that the answer has beside the total: `operation` (without it too), `hour`, or `minute` for up to 6
    /// hours.
    #[serde(default)]
    #[param(inline)]
    pub group_by: Grouping,
    /// Name of the only operation to count, such as `accounts/transfer`.
    #[param(example = "accounts/transfer")]
    pub operation: Option<String>,
}

/// The parts of the statistics: one for each `operation`, `hour` or `minute` that has calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// By operation.
    #[default]
    Operation,
    /// By full hour.
    Hour,
    /// By minute.
    Minute,
}

/// Statistics of the calls of all processes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "from": "2026-01-31T11:07:00.000Z",
    "to": "2026-02-01T11:06:41.207Z",
    "total": {
        "count": 5, "succeeded": 3, "refused": { "insufficient_funds": 2 }, "failed": 0, "conflicts": 0,
        "success_rate": 0.6, "mean_ms": 1.42, "min_ms": 0.61, "max_ms": 3.7, "p50_ms": 0.98, "p95_ms": 3.7, "p99_ms": 3.7
    },
    "groups": [{
        "operation": "accounts/transfer",
        "count": 5, "succeeded": 3, "refused": { "insufficient_funds": 2 }, "failed": 0, "conflicts": 0,
        "success_rate": 0.6, "mean_ms": 1.42, "min_ms": 0.61, "max_ms": 3.7, "p50_ms": 0.98, "p95_ms": 3.7, "p99_ms": 3.7
    }]
}))]
pub struct TransactionStatistics {
    /// Beginning of what was counted.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Moment of the answer, by the clock of Redis. The last second may be missing.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// All calls together.
    total: CallFigures,
    /// Parts of the total: operations with the most calls first, or hours or minutes in their order. One without
    /// calls is left out.
    groups: Vec<CallGroup>,
}

/// One part of the statistics.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallGroup {
    /// Name of the operation, where calls are grouped by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "accounts/transfer")]
    operation: Option<String>,
    /// Beginning of the hour or minute, where calls are grouped by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    start: Option<Timestamp>,
    /// Figures of its calls.
    #[serde(flatten)]
    figures: CallFigures,
}

/// Counts and durations of calls. A duration is the time from the head of a request to the head of its answer, or
/// of a line of a stream to its result; there is none without a call. Percentiles are within 2 %.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallFigures {
    /// Calls.
    #[schema(example = 5)]
    count: u64,
    /// Calls that were answered with a status below 400.
    #[schema(example = 3)]
    succeeded: u64,
    /// Calls that were answered with a status from 400 to 499, by problem code.
    #[schema(example = json!({ "insufficient_funds": 2 }))]
    refused: BTreeMap<String, u64>,
    /// Calls that were answered with a status from 500 on.
    #[schema(example = 0)]
    failed: u64,
    /// Attempts of `POST /transactions` that met a conflict.
    #[schema(example = 0)]
    conflicts: u64,
    /// Share of the calls that succeeded, 0 to 1.
    #[schema(example = 0.6)]
    success_rate: Option<f64>,
    /// Mean duration in milliseconds.
    #[schema(example = 1.42)]
    mean_ms: Option<f64>,
    /// Shortest duration in milliseconds.
    #[schema(example = 0.61)]
    min_ms: Option<f64>,
    /// Longest duration in milliseconds.
    #[schema(example = 3.7)]
    max_ms: Option<f64>,
    /// Duration that half of the calls did not exceed, in milliseconds.
    #[schema(example = 0.98)]
    p50_ms: Option<f64>,
    /// Duration that 95 % of the calls did not exceed, in milliseconds.
    #[schema(example = 3.7)]
    p95_ms: Option<f64>,
    /// Duration that 99 % of the calls did not exceed, in milliseconds.
    #[schema(example = 3.7)]
    p99_ms: Option<f64>,
}

impl TransactionsQuery {
    /// Checks the hours, and returns how many they are.
    fn checked_hours(&self) -> Result<u64, Problem> {
        let by_minute = self.group_by == Grouping::Minute;
        let hours = self.hours.unwrap_or(if by_minute { MAX_HOURS_BY_MINUTE } else { 24 });
        let refuse = |detail| Err(Problem::new(codes::INVALID_QUERY, detail));
        if !(1..=MAX_HOURS).contains(&hours) {
            return refuse(format!("The statistics go 1 to {MAX_HOURS} hours back."));
        }
        if by_minute && hours > MAX_HOURS_BY_MINUTE {
            return refuse(format!(
                "The statistics by the minute go {MAX_HOURS_BY_MINUTE} hours back."
            ));
        }
        Ok(hours)
    }
}

/// Reads the windows of several periods.
struct ReadWindows<'a>(&'a [Period]);

/// The reply of the script.
#[derive(Debug, Deserialize)]
struct ReadWindowsReply {
    now_ms: u64,
    /// Of each period, fields and windows in turn.
    windows: Vec<Vec<RedisValue>>,
}

impl Operation for ReadWindows<'_> {
    const NAME: &'static str = "monitoring/transactions";
    const CODES: &'static [Code] = &[];
    type Reply = ReadWindowsReply;

    fn bind(&self, invocation: &mut Invocation) {
        for period in self.0 {
            invocation.derived_key("window_key", period.span.kind(), period.number);
        }
    }
}

/// Read statistics of calls
///
/// Counts, refusals by code and durations of the calls of all processes: in all, and by operation, hour or minute.
/// A line of `POST /bulk` is a call of its command; `POST /atomic` is one call. Each process stores its figures
/// about once a second and when it stops. One that is killed loses those of its last second.
#[utoipa::path(
    get,
    path = "/monitoring/transactions",
    operation_id = ReadWindows::NAME,
    tag = "monitoring",
    params(TransactionsQuery),
    responses((status = OK, body = TransactionStatistics, description = "The statistics.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn transactions(
    State(store): State<Store>,
    Query(query): Query<TransactionsQuery>,
) -> Result<Json<TransactionStatistics>, Problem> {
    let hours = query.checked_hours()?;
    let context = context().map_err(|error| Problem::invalid(&error, ""))?;
    let now_ms = store.run(&ReadWindows(&[]), &context).await?.reply.now_ms;
    let (from_ms, periods) = periods(hours, query.group_by, now_ms);
    let mut groups: BTreeMap<GroupKey, CallWindow> = BTreeMap::new();
    let mut total = CallWindow::default();
    for part in periods.chunks(PERIODS_PER_SCRIPT) {
        for (period, operation, window) in read(&store, &context, part).await? {
            if query.operation.as_ref().is_some_and(|only| *only != operation) {
                continue;
            }
            total.merge(&window);
            groups
                .entry(GroupKey::of(query.group_by, operation, period))
                .or_default()
                .merge(&window);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    if query.group_by == Grouping::Operation {
        groups.sort_by_key(|(_, window)| std::cmp::Reverse(window.count()));
    }
    Ok(Json(TransactionStatistics {
        from: Timestamp::from_us(from_ms * 1000),
        to: Timestamp::from_us(now_ms * 1000),
        total: CallFigures::from(&total),
        groups: groups.into_iter().map(CallGroup::from).collect(),
    }))
}

/// The first moment that counts, and the periods that have everything since then, in their order. Full hours are
/// read as such.
fn periods(hours: u64, group_by: Grouping, now_ms: u64) -> (u64, Vec<Period>) {
    let back_ms = hours * HOUR_MS;
    let now = Period::at(Span::Hour, now_ms);
    if group_by == Grouping::Minute {
        // The present minute is the last of as many as the hours have.
        let last = Period::at(Span::Minute, now_ms);
        let first = Period::at(Span::Minute, now_ms.saturating_sub(back_ms)).number + 1;
        let minutes = (first..=last.number).map(|number| Period { span: Span::Minute, number });
        let minutes: Vec<_> = minutes.collect();
        return (minutes.first().copied().unwrap_or(last).start_ms(), minutes);
    }
    let first_minute = Period::at(Span::Minute, now_ms.saturating_sub(back_ms)).number + 1;
    let begin = Period { span: Span::Minute, number: first_minute };
    let mut periods = Vec::new();
    let (mut first_hour, mut from_ms) =
        (Period::at(Span::Hour, begin.start_ms()), begin.start_ms());
    let is_whole = first_hour.start_ms() == begin.start_ms();
    if hours > 24 {
        from_ms = first_hour.start_ms();
    } else if !is_whole {
        let minutes = first_minute..(first_hour.number + 1) * 60;
        periods.extend(minutes.map(|number| Period { span: Span::Minute, number }));
        first_hour.number += 1;
    }
    let hours = first_hour.number..=now.number;
    periods.extend(hours.map(|number| Period { span: Span::Hour, number }));
    (from_ms, periods)
}

/// Reads some periods: of each window its period and its operation.
async fn read(
    store: &Store,
    context: &Context,
    periods: &[Period],
) -> Result<Vec<(Period, String, CallWindow)>, Problem> {
    let reply = store.run(&ReadWindows(periods), context).await?.reply;
    let mut read = Vec::new();
    for (period, fields) in periods.iter().zip(reply.windows) {
        for pair in fields.chunks_exact(2) {
            let (RedisValue::Bytes(field), RedisValue::Bytes(bytes)) = (&pair[0], &pair[1]) else {
                continue;
            };
            let field = String::from_utf8_lossy(field);
            let window = CallWindow::decode(bytes);
            let (Some(operation), Some(window)) = (operation_of(&field), window) else {
                let cause = format!("the window {field} has no known layout");
                return Err(Failure::UnexpectedReply(cause).into());
            };
            read.push((*period, operation.to_owned(), window));
        }
    }
    Ok(read)
}

/// The name of a group; groups by time are in its order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    Operation(String),
    Start(u64),
}

impl GroupKey {
    fn of(grouping: Grouping, operation: String, period: Period) -> GroupKey {
        match grouping {
            Grouping::Operation => GroupKey::Operation(operation),
            Grouping::Hour => GroupKey::Start(Period::at(Span::Hour, period.start_ms()).start_ms()),
            Grouping::Minute => GroupKey::Start(period.start_ms()),
        }
    }
}

impl From<(GroupKey, CallWindow)> for CallGroup {
    fn from((key, window): (GroupKey, CallWindow)) -> CallGroup {
        let (operation, start) = match key {
            GroupKey::Operation(operation) => (Some(operation), None),
            GroupKey::Start(ms) => (None, Some(Timestamp::from_us(ms * 1000))),
        };
        CallGroup { operation, start, figures: CallFigures::from(&window) }
    }
}

impl From<&CallWindow> for CallFigures {
    fn from(window: &CallWindow) -> CallFigures {
        let (count, durations) = (window.count(), &window.durations);
        CallFigures {
            count,
            succeeded: window.succeeded,
            refused: window.refused.clone(),
            failed: window.failed,
            conflicts: window.conflicts,
            success_rate: (count > 0).then(|| window.succeeded as f64 / count as f64),
            mean_ms: durations.mean_ms(),
            min_ms: durations.min_ms(),
            max_ms: durations.max_ms(),
            p50_ms: durations.quantile_ms(0.5),
            p95_ms: durations.quantile_ms(0.95),
            p99_ms: durations.quantile_ms(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * HOUR_MS;

    #[test]
    fn the_periods_follow_one_another_from_the_beginning_to_now() {
        // At every minute of an hour, and at both of its ends.
        for now_ms in
            (0..=60).flat_map(|minute| [0, 59_999].map(|ms| 9 * DAY_MS + minute * 60_000 + ms))
        {
            for (hours, grouping) in [
                (1, Grouping::Operation),
                (24, Grouping::Hour),
                (6, Grouping::Minute),
                (168, Grouping::Hour),
            ] {
                let (from_ms, periods) = periods(hours, grouping, now_ms);
                let mut next = from_ms;
                for period in &periods {
                    assert_eq!(period.start_ms(), next);
                    next += period.span.ms();
                }
                assert!(next > now_ms && next <= now_ms + HOUR_MS, "{hours} at {now_ms}");
                let most = hours * HOUR_MS + if hours > 24 { HOUR_MS } else { 0 };
                assert!(
                    (hours * HOUR_MS - 60_000..=most).contains(&(now_ms - from_ms)),
                    "{hours} at {now_ms}"
                );
                assert!(periods.len() <= 360, "{}", periods.len());
            }
        }
    }
}
