//! Failed datums → a sentence for a Job's explanation.

use super::finding::{Who, quote, to_do};

/// The most characters that are told of what the code printed.
const MAX_PRINTED: usize = 320;

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
    /// The last lines that the code printed, and the keeper's own line after them, `[varve: …]`, if it has one.
    pub last_lines: String,
}

/// What a Job with failed datums says: how many, and of the first what happened.
pub fn failed_datums(failed: u64, total: u64, first: &FailedDatum) -> String {
    let datums = if total == 1 { "datum" } else { "datums" };
    let tries = if first.tries == 1 { "1 try".to_owned() } else { format!("{} tries", first.tries) };
    let (printed, note) = apart(&first.last_lines);
    let printed = quote(end_of(printed));
    let printed = if printed.is_empty() { "it printed nothing".to_owned() } else { format!("it printed: {printed}") };
    let (what, remedy) = what_happened(first, &quote(note));
    let remedy = to_do(&[(Who::You, remedy.to_owned())]);
    format!(
        "{failed} of {total} {datums} failed, so nothing was committed. {}: {what} after {tries}; {printed}. {remedy} What \
         succeeded is kept and not run again.",
        first.name
    )
}

/// The last of what the code printed, as much as is told.
fn end_of(printed: &str) -> &str {
    let start = printed.char_indices().rev().nth(MAX_PRINTED - 1);
    start.map_or(printed, |(start, _)| &printed[start..])
}

/// What the code printed, and the line that the keeper adds where it knows more than the code could say.
fn apart(last_lines: &str) -> (&str, &str) {
    let whole = last_lines.trim_end();
    let note = whole.strip_suffix(']').and_then(|text| text.rsplit_once("[varve: "));
    note.filter(|(before, _)| before.is_empty() || before.ends_with('\n')).unwrap_or((whole, ""))
}

/// By the keeper's reason; the numbers only say more where the reason is about them.
fn what_happened(first: &FailedDatum, note: &str) -> (String, &'static str) {
    const CODE: &str = "correct the code or the input";
    const MEMORY: &str = "raise container.resources.limits.memory, or let each datum need less";
    let or = |words: &str| if note.is_empty() { words.to_owned() } else { note.to_owned() };
    let code = first.exit_code.unwrap_or_default();
    match first.reason.as_str() {
        "OutOfMemory" => (with_note("it ran out of memory", note), MEMORY),
        "ContainerLost" => (with_note("its container ended under it, most likely for lack of memory", note), MEMORY),
        "TimedOut" => {
            (or("it took longer than datum.timeoutSeconds"), "raise datum.timeoutSeconds, or let each datum do less")
        }
        "CommandNotFound" => (or("its command was not found in the image"), "correct container.command, or the image"),
        "CommandNotExecutable" => (
            or("its command can't be executed"),
            "make the file executable, and check that the image is built for the nodes' kind of processor",
        ),
        "WorkingDirectoryUnusable" => {
            (or("its working directory can't be entered"), "correct container.workingDir, or the image")
        }
        "OutputUnusable" => (
            with_note("what it left in /pfs/out can't be kept", note),
            "let it write files, directories and links to files that are there",
        ),
        "LocalDisk" => (
            with_note("the disk that it works on failed it", note),
            "raise container.resources.limits.ephemeral-storage, or let each datum read and write less",
        ),
        "ExitCode" if code == 126 => (
            "the code exited with 126: a shell could not execute a command".to_owned(),
            "make the command's file executable, or correct the command",
        ),
        "ExitCode" if code == 127 => {
            ("the code exited with 127: a shell did not find a command".to_owned(), "correct the command, or the image")
        }
        "ExitCode" if code == 137 => (
            "the code exited with 137, as if ended by signal 9 (SIGKILL): often for lack of memory".to_owned(),
            "raise container.resources.limits.memory, or correct the code or the input",
        ),
        "ExitCode" if code > 128 && code < 160 => {
            let number = code - 128;
            (format!("the code exited with {code}, as if ended by signal {number} ({})", signal(number)), CODE)
        }
        "ExitCode" => (format!("the code exited with {code}"), CODE),
        "Signalled" => {
            let number = first.signal.unwrap_or_default();
            (format!("the code was ended by signal {number} ({})", signal(number)), CODE)
        }
        reason => (with_note(&format!("it ended with {reason}"), note), CODE),
    }
}

fn with_note(words: &str, note: &str) -> String {
    if note.is_empty() { words.to_owned() } else { format!("{words} ({note})") }
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
