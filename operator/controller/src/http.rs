//! `/metrics`, `/healthz`, `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Shown by `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Whether all caches have seen their first list: what `/readyz` answers. A replica that does not
    /// lead is ready too: it stands by.
    pub is_warm: watch::Receiver<bool>,
}

/// Serves the pages on `address` until `stop`.
pub async fn serve(address: SocketAddr, pages: Pages, stop: CancellationToken) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn metrics(State(pages): State<Pages>) -> String {
    pages.metrics.text()
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if *pages.is_warm.borrow() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches have not seen their first list yet")
    }
}
