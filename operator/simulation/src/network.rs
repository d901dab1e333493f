//! The way to the API server, as a network is: slow, broken before or after a call took effect, with watches that end,
//! lag and expire, and a server that turns calls away.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use varve_local::api::Server;

use crate::wire::{Fate, Wire};

/// How long a watch may stand still.
const LONGEST_LAG: Duration = Duration::from_mins(1);

/// A client over this wire.
pub(crate) fn client(wire: &Wire, server: &Server, namespace: &str) -> Client {
    let (wire, server) = (wire.clone(), server.clone());
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (wire, server) = (wire.clone(), server.clone());
        async move { call(&wire, &server, request).await }
    });
    Client::new(service, namespace)
}

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The connection broke: nobody knows whether the call took effect.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke")]
struct Broken;

async fn call(wire: &Wire, server: &Server, request: http::Request<Body>) -> Result<http::Response<Answer>, Broken> {
    let what = format!("{} {}", request.method(), told(request.uri().path()));
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let fate = wire.fate(&what).await;
    match fate {
        Fate::FailsBefore => return Err(Broken),
        Fate::Refused => return Ok(refusal(wire, &method, is_watch)),
        Fate::Well | Fate::FailsAfter | Fate::DiesAfter => {}
    }
    let response = server.call(http::Request::from_parts(parts, body)).await;
    let is_well = response.status().is_success();
    let (parts, body) = response.into_parts();
    let body = if is_watch {
        watched(wire.clone(), body.into_data_stream())
    } else {
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        if method != Method::GET && is_well {
            count(wire, &method, &path, &body);
        }
        whole(body)
    };
    match fate {
        Fate::FailsAfter => return Err(Broken),
        Fate::DiesAfter => return wire.die_here().await,
        Fate::Well | Fate::FailsBefore | Fate::Refused => {}
    }
    wire.way().await;
    Ok(http::Response::from_parts(parts, body))
}

/// A path as the trace tells it: without the name of an Event, which kube makes of the system's own clock.
fn told(path: &str) -> &str {
    path.find("/events/").map_or(path, |at| &path[..at + "/events".len()])
}

/// Enters a write into the ledger, under the path of its object.
fn count(wire: &Wire, method: &Method, path: &str, answer: &[u8]) {
    if path.contains("/leases") || path.contains("/events") {
        return;
    }
    let name = || {
        let made: Value = serde_json::from_slice(answer).unwrap_or_default();
        made["metadata"]["name"].as_str().unwrap_or_default().to_owned()
    };
    let object = match *method {
        Method::POST => format!("{path}/{}", name()),
        _ => path.trim_end_matches("/status").to_owned(),
    };
    wire.ledger.write(&object);
}

/// What a server says that does not do what it is asked: that there are too many calls, that it is broken, or, of a
/// version, that it is known no more.
fn refusal(wire: &Wire, method: &Method, is_watch: bool) -> http::Response<Answer> {
    let gone = (StatusCode::GONE, "Expired", "too old resource version");
    let busy = (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "the server is busy");
    let broken = (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: leader changed");
    let away = (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the server is starting");
    let stale = (StatusCode::CONFLICT, "Conflict", "the object has been modified; please apply your changes");
    let changes = method == Method::PATCH || method == Method::PUT;
    let fitting: &[_] = if is_watch {
        &[gone, busy, away]
    } else if changes {
        &[busy, broken, away, stale]
    } else {
        &[busy, broken, away]
    };
    let (code, reason, message) = *wire.chance.one_of(fitting).unwrap_or(&away);
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    });
    let mut response = http::Response::new(whole(status.to_string().into()));
    *response.status_mut() = code;
    response
}

fn whole(body: Bytes) -> Answer {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// A watch: its events lag, and it may end at each.
fn watched<S, E>(wire: Wire, stream: S) -> Answer
where
    S: futures::Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let events = stream.take_while(move |_| {
        let wire = wire.clone();
        async move {
            wire.way().await;
            if wire.is_calm() {
                return true;
            }
            if wire.chance.once_in(wire.weather.watch_lags) {
                tokio::time::sleep(wire.chance.pause(LONGEST_LAG)).await;
            }
            !wire.chance.once_in(wire.weather.watch_ends)
        }
    });
    let frames = events.map(|event| event.map(http_body::Frame::data).map_err(Into::into));
    StreamBody::new(frames).boxed_unsync()
}
