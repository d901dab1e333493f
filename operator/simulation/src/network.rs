//! The way to the API server, as a network is: slow, broken before or after a call took effect, watches that end or
//! lag, and a process at this end that may die at any call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::trace::Trace;
use varve_local::api::Server;

/// How bad the times are: once in how many calls each thing happens; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// A call fails and had no effect.
    pub(crate) before: u32,
    /// A call fails and had its effect all the same.
    pub(crate) after: u32,
    /// A watch ends, at each of its events.
    pub(crate) watch_ends: u32,
    /// The longest that anything takes on its way.
    pub(crate) slow: Duration,
}

/// One process's end of the wires, to the API server and to the bucket.
#[derive(Clone)]
pub(crate) struct Wire {
    weather: Weather,
    chance: Chance,
    trace: Trace,
    /// Calls until the process dies at one of them; below 0 it never does.
    fuse: Arc<AtomicI64>,
    died: CancellationToken,
    is_calm: Arc<AtomicBool>,
    faults: Arc<AtomicU32>,
    writes: Arc<AtomicU32>,
}

/// What becomes of a call.
pub(crate) enum Fate {
    Well,
    FailsBefore,
    FailsAfter,
    /// The process dies once it has taken effect.
    DiesAfter,
}

impl Wire {
    pub(crate) fn new(weather: Weather, chance: Chance, trace: Trace) -> Self {
        Self {
            weather,
            chance,
            trace,
            fuse: Arc::new(AtomicI64::new(-1)),
            died: CancellationToken::new(),
            is_calm: Arc::default(),
            faults: Arc::default(),
            writes: Arc::default(),
        }
    }

    /// Lets the process die at its n-th call from now.
    pub(crate) fn die_at(&self, calls: usize) {
        self.fuse.store(i64::try_from(calls).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Kills the process now.
    pub(crate) fn die(&self) {
        self.died.cancel();
    }

    /// Done when the process has died.
    pub(crate) fn died(&self) -> CancellationToken {
        self.died.clone()
    }

    /// From now on nothing fails.
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.fuse.store(-1, Ordering::SeqCst);
    }

    /// Calls that were made to fail.
    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Writes that came to the API server, but for leases and events.
    pub(crate) fn writes(&self) -> u32 {
        self.writes.load(Ordering::SeqCst)
    }

    /// What becomes of the next call. A dead process never hears of it.
    pub(crate) async fn fate(&self, what: &str) -> Fate {
        if self.died.is_cancelled() {
            std::future::pending::<()>().await;
        }
        let is_calm = self.is_calm.load(Ordering::SeqCst);
        let slow = if is_calm { Duration::from_millis(2) } else { self.weather.slow };
        tokio::time::sleep(self.chance.pause(slow)).await;
        if self.died.is_cancelled() {
            std::future::pending::<()>().await;
        }
        if is_calm {
            return Fate::Well;
        }
        if self.fuse.load(Ordering::SeqCst) >= 0 && self.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            let has_effect = self.chance.once_in(2);
            self.trace.say("operator", format!("dies {} {what}", if has_effect { "after" } else { "before" }));
            if has_effect {
                return Fate::DiesAfter;
            }
            self.die();
            std::future::pending::<()>().await;
        }
        let fate = if self.chance.once_in(self.weather.before) {
            Fate::FailsBefore
        } else if self.chance.once_in(self.weather.after) {
            Fate::FailsAfter
        } else {
            return Fate::Well;
        };
        self.faults.fetch_add(1, Ordering::SeqCst);
        let when = if matches!(fate, Fate::FailsBefore) { "before" } else { "after" };
        self.trace.say("fault", format!("{when} {what}"));
        fate
    }

    /// Dies, once what was under way has taken effect.
    pub(crate) async fn die_here<T>(&self) -> T {
        self.die();
        std::future::pending().await
    }

    /// A client over this wire.
    pub(crate) fn client(&self, server: &Server, namespace: &str) -> Client {
        let (wire, server) = (self.clone(), server.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (wire, server) = (wire.clone(), server.clone());
            async move { wire.call(&server, request).await }
        });
        Client::new(service, namespace)
    }

    async fn call(&self, server: &Server, request: http::Request<Body>) -> Result<http::Response<Answer>, Broken> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
        let is_counted =
            request.method() != http::Method::GET && !what.contains("/leases/") && !what.contains("/events");
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let request = http::Request::from_parts(parts, body);
        let fate = if is_watch { Fate::Well } else { self.fate(&what).await };
        if matches!(fate, Fate::FailsBefore) {
            return Err(Broken);
        }
        let response = server.call(request).await;
        if is_counted && response.status().is_success() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        match fate {
            Fate::FailsAfter => return Err(Broken),
            Fate::DiesAfter => return self.die_here().await,
            Fate::Well | Fate::FailsBefore => {}
        }
        let (parts, body) = response.into_parts();
        let body =
            if is_watch { self.watched(body.into_data_stream()) } else { body.map_err(Into::into).boxed_unsync() };
        Ok(http::Response::from_parts(parts, body))
    }

    /// A watch: its events lag, and it may end at each.
    fn watched<S, E>(&self, stream: S) -> Answer
    where
        S: futures::Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let wire = self.clone();
        let events = stream.take_while(move |_| {
            let wire = wire.clone();
            async move {
                if wire.died.is_cancelled() {
                    return false;
                }
                let is_calm = wire.is_calm.load(Ordering::SeqCst);
                let slow = if is_calm { Duration::from_millis(2) } else { wire.weather.slow };
                tokio::time::sleep(wire.chance.pause(slow)).await;
                is_calm || !wire.chance.once_in(wire.weather.watch_ends)
            }
        });
        let frames = events.map(|event| event.map(http_body::Frame::data).map_err(Into::into));
        StreamBody::new(frames).boxed_unsync()
    }
}

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The connection broke: nobody knows whether the call took effect.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke")]
pub(crate) struct Broken;
