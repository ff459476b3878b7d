//! The replicas that have what a call wrote: each write notes their number, and the call has the least of them.
//! `api` runs every call in [`counting_replicas`] and answers the number in a header.

use std::cell::Cell;

use futures_util::FutureExt;

tokio::task_local! {
    /// The least number that was noted in the call that this task runs.
    static LEAST: Cell<Option<u32>>;
}

/// Runs a call, and returns with its result the least number of replicas that have one of its writes; `None` where it
/// wrote nothing, or did not wait for replicas.
pub fn counting_replicas<T>(
    call: impl Future<Output = T>,
) -> impl Future<Output = (T, Option<u32>)> {
    // An `async` block would have room for the call twice, and calls that wait are many.
    LEAST.scope(Cell::new(None), call.map(|result| (result, LEAST.with(Cell::get))))
}

/// Notes the number of replicas that have a write. What no call waits for, such as the sweeper, notes in vain.
pub(super) fn note_replicas(replicas: Option<u32>) {
    let Some(replicas) = replicas else { return };
    let _ = LEAST.try_with(|least| {
        least.set(Some(least.get().map_or(replicas, |before| before.min(replicas))));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_has_the_least_of_its_numbers() {
        note_replicas(Some(1));
        let (result, replicas) = counting_replicas(async {
            for noted in [Some(3), None, Some(2), Some(4)] {
                note_replicas(noted);
            }
            7
        })
        .await;
        assert_eq!((result, replicas), (7, Some(2)));
        assert_eq!(counting_replicas(async {}).await, ((), None));
    }
}
