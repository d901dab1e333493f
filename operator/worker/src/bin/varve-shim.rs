//! PID 1 of the user's container; all of it is in [`varve_worker::shim`].

use std::process::ExitCode;

fn main() -> ExitCode {
    varve_worker::shim::main(std::env::args().skip(1))
}
