//! Many callers at once: how tests find out what contention does.

use std::pin::Pin;

use serde_json::json;
use tokio::task::JoinSet;

use super::Answer;

/// Starts `callers` calls, each in a task of its own. They run at once, and awaiting the race gives all
/// their results, in the order in which they came.
pub fn race<F>(callers: usize, call: impl FnMut(usize) -> F) -> Race<F::Output>
where
    F: IntoFuture<Output: Send + 'static, IntoFuture: Send + 'static>,
{
    race_each(0..callers, call)
}

/// Like [`race`], with a call for each of these values.
pub fn race_each<T, F>(
    values: impl IntoIterator<Item = T>,
    mut call: impl FnMut(T) -> F,
) -> Race<F::Output>
where
    F: IntoFuture<Output: Send + 'static, IntoFuture: Send + 'static>,
{
    let mut tasks = JoinSet::new();
    for value in values {
        tasks.spawn(call(value).into_future());
    }
    Race { tasks }
}

/// Calls that are under way. Dropping it aborts those that have not ended.
pub struct Race<T> {
    tasks: JoinSet<T>,
}

impl<T: 'static> Race<T> {
    /// The result of the call that ends next.
    pub async fn next(&mut self) -> T {
        self.tasks.join_next().await.unwrap().unwrap()
    }
}

impl<T: Send + 'static> IntoFuture for Race<T> {
    type Output = Results<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Results<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Results(self.tasks.join_all().await) })
    }
}

/// The results of a race, in the order in which they came.
#[derive(Debug)]
pub struct Results<T>(Vec<T>);

impl Results<Answer> {
    /// The number of answers with this status.
    pub fn count(&self, status: u16) -> usize {
        self.iter().filter(|answer| answer.status.as_u16() == status).count()
    }

    /// The number of answers that are this problem; each has all the members of a problem.
    #[track_caller]
    pub fn count_code(&self, code: &str) -> usize {
        let is_problem = |answer: &&Answer| answer.body["code"] == json!(code);
        let problems: Vec<_> = self.iter().filter(is_problem).cloned().collect();
        let count = problems.len();
        for problem in problems {
            let status = problem.status.as_u16();
            problem.expect_problem(status, code);
        }
        count
    }

    /// The number of answers from the record of an idempotency key.
    pub fn replayed(&self) -> usize {
        self.iter().filter(|answer| answer.replayed()).count()
    }

    /// Panics unless every answer has this status and the same body, which is the result.
    #[track_caller]
    pub fn assert_all_equal(self, status: u16) -> serde_json::Value {
        for answer in self.iter() {
            assert_eq!((answer.status.as_u16(), &answer.body), (status, &self[0].body));
        }
        self[0].body.clone()
    }
}

impl<T> std::ops::Deref for Results<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Results<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
