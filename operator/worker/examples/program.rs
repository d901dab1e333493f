//! The keeper and the import program on their own, for this crate's tests: the main binary runs
//! them in just this way.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    match std::env::args().nth(1).as_deref() {
        Some("keeper") => varve_worker::keeper::main().await,
        Some("import") => varve_worker::import::main().await,
        _ => ExitCode::FAILURE,
    }
}
