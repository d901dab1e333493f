//! The server on a socket: HTTP/1.1 on loopback, for whoever has the token.
//!
//! The token is taken as a bearer's or as a password: `kubectl` sends no bearer token over plain HTTP
//! (client-go's `clientcmd` leaves credentials out there), but the password of a URL
//! (`http://varve:TOKEN@127.0.0.1:PORT`) it does send.

use std::io;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response, header};
use data_encoding::BASE64;
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
    if !given.is_some_and(|given| has_token(given, &door.token)) {
        return Failure::unauthorized().response();
    }
    let (head, body) = request.into_parts();
    match to_bytes(body, MAX_BYTES).await {
        Ok(body) => door.server.call_until(Request::from_parts(head, body), &door.stop).await,
        Err(_) => Failure::too_large(MAX_BYTES).response(),
    }
}

/// Whether an `Authorization` holds the token.
fn has_token(given: &str, token: &str) -> bool {
    let Some((scheme, credentials)) = given.split_once(' ') else { return false };
    let credentials = credentials.trim().as_bytes();
    if scheme.eq_ignore_ascii_case("Bearer") {
        return is_same(credentials, token.as_bytes());
    }
    let decoded = BASE64.decode(credentials).unwrap_or_default();
    let password = decoded.splitn(2, |byte| *byte == b':').nth(1);
    scheme.eq_ignore_ascii_case("Basic") && password.is_some_and(|password| is_same(password, token.as_bytes()))
}

/// Compares in a time that tells nothing about where the two differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_as_a_bearers_and_as_a_password() {
        let password = format!("Basic {}", BASE64.encode(b"varve:one:two"));
        assert!(has_token("Bearer one:two", "one:two"));
        assert!(has_token(&password, "one:two"));
        for wrong in ["", "one:two", "Bearer one", "Bearer", "Basic !", "Basic b25lOnR3"] {
            assert!(!has_token(wrong, "one:two"), "{wrong}");
        }
    }
}
