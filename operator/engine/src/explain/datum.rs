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
    let tries = if first.tries == 1 { "try".to_owned() } else { format!("{} tries", first.tries) };
    let printed = quote(&first.last_lines);
    let printed = if printed.is_empty() { "it printed nothing".to_owned() } else { format!("it printed: {printed}") };
    let (what, what_to_do) = what_happened(first);
    format!(
        "{failed} of {total} {datums} failed, so nothing was committed. {}: {what} after {tries}; {printed} ({what_to_do})",
        first.name
    )
}

fn what_happened(first: &FailedDatum) -> (String, &'static str) {
    const CODE: &str = "correct the code or the input; what succeeded is kept and not run again";
    let what = match (first.reason.as_str(), first.exit_code, first.signal) {
        ("OutOfMemory" | "OOMKilled", ..) => {
            let what = "it ran out of memory".to_owned();
            return (what, "raise container.resources.limits.memory, or let each datum need less");
        }
        ("TimedOut" | "Timeout", ..) => {
            let what = "it took longer than datum.timeoutSeconds".to_owned();
            return (what, "raise datum.timeoutSeconds, or let each datum do less");
        }
        ("CommandNotFound", ..) | (_, Some(127), _) => {
            let what = "its command was not found in the image (exit code 127)".to_owned();
            return (what, "correct container.command, or the image");
        }
        ("CommandNotExecutable", ..) | (_, Some(126), _) => {
            let what = "its command can't be executed (exit code 126)".to_owned();
            return (what, "make the file executable, and check that the image is built for the nodes' architecture");
        }
        (_, Some(code), _) if code > 128 => {
            format!("the code exited with {code}, as if ended by signal {} ({})", code - 128, signal(code - 128))
        }
        (_, Some(code), _) => format!("the code exited with {code}"),
        (_, _, Some(number)) => format!("the code was ended by signal {number} ({})", signal(number)),
        (reason, None, None) => format!("it ended with {reason}"),
    };
    (what, CODE)
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
