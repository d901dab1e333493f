//! Running other programs, so that a failure says which one and what it was for.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where built things lie that outlive a clone: `${XDG_CACHE_HOME:-~/.cache}/varve`.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("varve")
}

/// A command that begins in the repository's root.
pub(crate) fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Cargo, the one that runs this program.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Runs a command to its end, its output on ours; fails if it fails.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{what}: start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{what}: {} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and gives back what it printed; fails, with what it said, if it fails.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{what}: start {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what}: {} ended with {}: {}", shown(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what}: output is not text"))
}

/// Runs a command, its errors on ours, and gives back what it printed; fails if it fails.
pub(crate) fn output_shown(what: &str, command: &mut Command) -> Result<String> {
    output(what, command.stderr(Stdio::inherit()))
}

/// Runs a command with text as its standard input and gives back what it printed.
pub(crate) fn output_of_input(what: &str, command: &mut Command, input: &str) -> Result<String> {
    // A file and not a pipe: a pipe would have to be written and read at once.
    let mut file = tempfile::tempfile().context("make a temporary file")?;
    file.write_all(input.as_bytes())?;
    std::io::Seek::rewind(&mut file)?;
    output(what, command.stdin(file))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let arguments = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(program.to_string_lossy().into_owned()).chain(arguments).take(8).collect::<Vec<_>>().join(" ")
}

/// Says what begins, and at its end how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\x1b[1m==> {what}\x1b[0m");
    let start = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    println!("    {:.1} s", start.elapsed().as_secs_f64());
    Ok(done)
}
