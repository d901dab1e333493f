//! Failed datums → a sentence for a Job's explanation.

use super::quote;

/// A datum that failed, as its result records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDatum {
    /// Which, as people read it.
    pub name: String,
    /// Why, in a word, as the keeper wrote it.
    pub reason: String,
    /// The exit code of the last try, if the code exited.
    pub exit_code: Option<i32>,
    /// The signal that ended the last try, if one did.
    pub signal: Option<i32>,
    /// How often it was tried.
    pub tries: u32,
    /// The last lines that the code printed.
    pub last_lines: String,
}

/// What a Job with failed datums says: how many, and of the first what happened.
pub fn failed_datums(failed: u64, total: u64, first: &FailedDatum) -> String {
    let datums = if total == 1 { "datum" } else { "datums" };
    let tries = if first.tries == 1 { "1 try".to_owned() } else { format!("{} tries", first.tries) };
    let printed = quote(&first.last_lines);
    let printed = if printed.is_empty() { "it printed nothing".to_owned() } else { format!("it printed: {printed}") };
    let (what, what_to_do) = what_happened(first);
    format!(
        "{failed} of {total} {datums} failed, so nothing was committed. {}: {what} after {tries}; {printed} ({what_to_do})",
        first.name
    )
}

/// By the keeper's reason; the numbers only say more where the reason is about them.
fn what_happened(first: &FailedDatum) -> (String, &'static str) {
    const CODE: &str = "correct the code or the input; what succeeded is kept and not run again";
    let code = first.exit_code.unwrap_or_default();
    match first.reason.as_str() {
        "OutOfMemory" => {
            ("it ran out of memory".to_owned(), "raise container.resources.limits.memory, or let each datum need less")
        }
        "ContainerLost" => (
            "its container ended under it, most likely for lack of memory".to_owned(),
            "raise container.resources.limits.memory, or let each datum need less",
        ),
        "TimedOut" => (
            "it took longer than datum.timeoutSeconds".to_owned(),
            "raise datum.timeoutSeconds, or let each datum do less",
        ),
        "CommandNotFound" => {
            ("its command was not found in the image".to_owned(), "correct container.command, or the image")
        }
        "CommandNotExecutable" => (
            "its command can't be executed".to_owned(),
            "make the file executable, and check that the image is built for the nodes' architecture",
        ),
        "WorkingDirectoryUnusable" => {
            ("its working directory can't be entered".to_owned(), "correct container.workingDir, or the image")
        }
        "OutputUnusable" => (
            "what it left in /pfs/out can't be kept".to_owned(),
            "let it write files, directories and links to files that are there",
        ),
        "ExitCode" if code == 127 => {
            ("the code exited with 127: a shell did not find a command".to_owned(), "correct the command, or the image")
        }
        "ExitCode" if code > 128 && code < 160 => {
            let number = code - 128;
            (format!("the code exited with {code}, as if ended by signal {number} ({})", signal(number)), CODE)
        }
        "ExitCode" => (format!("the code exited with {code}"), CODE),
        "Signalled" => {
            let number = first.signal.unwrap_or_default();
            (format!("the code was ended by signal {number} ({})", signal(number)), CODE)
        }
        reason => (format!("it ended with {reason}"), CODE),
    }
}

fn signal(number: i32) -> &'static str {
    match number {
        4 => "SIGILL, an instruction that this CPU doesn't have",
        6 => "SIGABRT, the program gave itself up",
        7 => "SIGBUS, a memory fault",
        8 => "SIGFPE, an arithmetic fault",
        9 => "SIGKILL",
        11 => "SIGSEGV, a memory fault",
        15 => "SIGTERM",
        _ => "see signal(7)",
    }
}
