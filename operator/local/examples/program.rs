//! The commands of the main binary that pods run, for this crate's tests: the main binary runs them in just this way.

use std::path::Path;
use std::process::ExitCode;

use varve_local::runner::{inside, parent};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let text = |at: usize| arguments.get(at).and_then(|argument| argument.to_str()).unwrap_or_default();
    match text(1) {
        "shim" => {
            parent::end_with(parent::ASK);
            varve_worker::shim::main(std::env::args().skip(2))
        }
        "inside" => inside::main(Path::new(text(2)), arguments.get(4..).unwrap_or_default()),
        "keeper" => {
            parent::end_with(parent::KILL);
            let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
            tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
            match tokio::runtime::Runtime::new() {
                Ok(runtime) => runtime.block_on(varve_worker::keeper::main()),
                Err(_) => ExitCode::FAILURE,
            }
        }
        _ => ExitCode::FAILURE,
    }
}
