//! The server on a socket: HTTP/1.1 on loopback, for whoever has the token.

use std::io;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::body::MAX_BYTES;
use super::failure::Failure;
use super::server::Server;

#[derive(Clone)]
struct Door {
    server: Server,
    token: String,
    stop: CancellationToken,
}

impl Server {
    /// Answers on `listener` until `stop`; watches end with it. Requests without the token get 401.
    pub async fn serve(self, listener: TcpListener, token: String, stop: CancellationToken) -> io::Result<()> {
        let door = Door { server: self, token, stop: stop.clone() };
        let router = Router::new().fallback(enter).with_state(door);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn enter(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_known = given
        .and_then(|given| given.strip_prefix("Bearer "))
        .is_some_and(|given| is_same(given.trim().as_bytes(), door.token.as_bytes()));
    if !is_known {
        return Failure::unauthorized().response();
    }
    let (head, body) = request.into_parts();
    match to_bytes(body, MAX_BYTES).await {
        Ok(body) => door.server.call_until(Request::from_parts(head, body), &door.stop).await,
        Err(_) => Failure::too_large(MAX_BYTES).response(),
    }
}

/// Compares in a time that tells nothing about where the two differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
