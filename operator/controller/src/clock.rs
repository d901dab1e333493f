//! The API server's clock, heard from the `Date` of its answers.
//!
//! When a Job began, and when a deleted pod has to be gone, the API server writes by its own clock. A machine whose
//! clock is hours off would else end Jobs that have just begun, or give up pods that are still stopping. So the time of
//! the operator is the API server's, wherever the two differ by more than answers take.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::header::DATE;
use axum::http::{HeaderMap, Response};
use jiff::fmt::rfc2822::DateTimeParser;
use tower::util::MapResponseLayer;
use uuid::Uuid;
use varve_store::Environment;

/// Clocks that differ by less count as the same: a `Date` has whole seconds, an answer may have been on its way for a
/// while, and the servers of one cluster differ a little among themselves.
const TOLERATED_NS: i64 = 30 * 1_000_000_000;

/// The machine's clock and ids, corrected by what the API server says.
#[derive(Debug, Clone)]
pub(crate) struct ServersTime {
    ours: Arc<dyn Environment>,
    /// How far the API server's clock is ahead of ours; 0 where that is little.
    ahead_ns: Arc<AtomicI64>,
}

impl ServersTime {
    pub(crate) fn new(ours: Arc<dyn Environment>) -> Self {
        Self { ours, ahead_ns: Arc::default() }
    }

    /// Listens to the answers of a client.
    pub(crate) fn layer<B>(&self) -> MapResponseLayer<impl FnMut(Response<B>) -> Response<B> + Clone + Send + use<B>> {
        let this = self.clone();
        MapResponseLayer::new(move |answer: Response<B>| {
            this.hear(answer.headers());
            answer
        })
    }

    fn hear(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| DateTimeParser::new().parse_timestamp(date.as_bytes()).ok());
        let Some(theirs) = date.and_then(|date| i64::try_from(date.as_nanosecond()).ok()) else { return };
        let ahead_ns = theirs.saturating_sub(self.ours.now_unix_ns());
        let ahead_ns = if ahead_ns.abs() > TOLERATED_NS { ahead_ns } else { 0 };
        let before = self.ahead_ns.swap(ahead_ns, Ordering::Relaxed);
        if (before == 0) != (ahead_ns == 0) {
            let seconds = ahead_ns / 1_000_000_000;
            if ahead_ns == 0 {
                tracing::info!("this machine's clock agrees with the API server's again");
            } else {
                tracing::warn!(
                    seconds,
                    "the API server's clock is not this machine's (ahead by so many seconds): its times are taken"
                );
            }
        }
    }
}

impl Environment for ServersTime {
    fn now_unix_ns(&self) -> i64 {
        self.ours.now_unix_ns().saturating_add(self.ahead_ns.load(Ordering::Relaxed))
    }

    fn new_id(&self) -> Uuid {
        self.ours.new_id()
    }
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use tower::{Layer as _, ServiceExt as _};
    use varve_store::CountingEnvironment;

    use super::*;

    /// What the operator takes the time to be at `ours`, in Unix seconds, after an answer with this `Date`.
    async fn heard(ours: u64, dates: &[Option<&'static str>]) -> i64 {
        let time = ServersTime::new(Arc::new(CountingEnvironment::new(ours * 1_000)));
        for date in dates {
            let server = tower::service_fn(async |_: axum::http::Request<Body>| {
                let mut answer = Response::new(Body::empty());
                answer.headers_mut().extend(date.map(|date| (DATE, date.parse().unwrap())));
                Ok::<_, std::convert::Infallible>(answer)
            });
            time.layer().layer(server).oneshot(axum::http::Request::new(Body::empty())).await.unwrap();
        }
        time.now_unix_ns() / 1_000_000_000
    }

    /// So many seconds of Unix time.
    const AT_1_700_000_000: Option<&'static str> = Some("Tue, 14 Nov 2023 22:13:20 GMT");

    #[tokio::test]
    async fn a_clock_two_hours_off_is_put_right_by_the_api_server_s() {
        for ours in [1_700_000_000 - 7_200, 1_700_000_000 + 7_200] {
            assert_eq!(heard(ours, &[AT_1_700_000_000]).await, 1_700_000_000);
            assert_eq!(heard(ours, &[AT_1_700_000_000, None]).await, 1_700_000_000);
        }
    }

    #[tokio::test]
    async fn a_little_difference_and_an_unreadable_date_change_nothing() {
        for (ours, date) in [
            (1_700_000_025, AT_1_700_000_000),
            (1_699_999_975, AT_1_700_000_000),
            (1_500_000_000, Some("noon")),
            (5, None),
        ] {
            assert_eq!(heard(ours, &[date]).await, i64::try_from(ours).unwrap());
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_right_meanwhile_is_believed_again() {
        // Ours is taken for an hour behind, until the server agrees.
        assert_eq!(
            heard(1_700_000_000, &[Some("Tue, 14 Nov 2023 23:13:20 GMT"), AT_1_700_000_000]).await,
            1_700_000_000
        );
    }
}
