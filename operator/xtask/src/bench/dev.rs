//! `bench dev`: `varve dev` as a laptop has it, a release build on the wordcount example, each figure beside its limit.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::run;

/// How long nothing is done while its processor time is measured.
const IDLE: Duration = Duration::from_mins(1);
/// Edits, of which the middle one counts.
const EDITS: u32 = 5;
/// In what /proc tells times, on every Linux machine.
const TICKS_A_SECOND: f64 = 100.0;
/// Datums of the large Job.
const DATUMS: u32 = 10_000;
/// What the last line about the example's last Repo begins with.
const RESULT: &str = "top: 1 file";

/// Files whose datums take no time.
const MANY: &str = "
apiVersion: varve.dev/v1alpha1
kind: Repo
metadata: {name: many, annotations: {varve.dev/folder: many}}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: nothing}
spec:
  inputs: [{name: many, glob: /*}]
  parallelism: 2
  container: {image: none, command: ['true']}
";

/// What was measured.
struct Figures(Vec<(String, bool)>);

impl Figures {
    fn add(&mut self, what: &str, unit: &str, found: f64, limit: f64, is_most: bool) {
        let is_well = if is_most { found < limit } else { found > limit };
        let (sign, verdict) = (if is_most { '<' } else { '>' }, if is_well { "" } else { "   MISSED" });
        let line = format!("{what:<48} {found:>8.2} {unit:<9} {sign} {limit}{verdict}");
        println!("{line}");
        self.0.push((line, is_well));
    }

    fn at_most(&mut self, what: &str, unit: &str, found: f64, limit: f64) {
        self.add(what, unit, found, limit, true);
    }
}

pub(super) fn bench() -> Result<()> {
    run::step("cargo build --release", || {
        run::run("build varve", &mut run::cargo(["build", "--release", "-p", "varve", "--quiet"]))
    })?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
    let varve = target.join("release/varve");
    let scratch = tempfile::tempdir().context("make a scratch folder")?;
    let mut figures = Figures(Vec::new());
    let size = fs::metadata(&varve).context("look at the program")?.len();
    figures.at_most("the program", "MB", megabytes(size), 60.0);
    run::step("wordcount", || wordcount(&varve, scratch.path(), &mut figures))?;
    run::step("many datums", || many(&varve, scratch.path(), &mut figures))?;
    println!();
    for (line, _) in &figures.0 {
        println!("{line}");
    }
    let missed = figures.0.iter().filter(|(_, is_well)| !is_well).count();
    if missed > 0 {
        bail!("{missed} of {} figures missed their limits", figures.0.len());
    }
    Ok(())
}

fn wordcount(varve: &Path, scratch: &Path, figures: &mut Figures) -> Result<()> {
    let files = scratch.join("wordcount");
    let mut copy = run::command("cp", ["-r", "docs/examples/wordcount"]);
    run::output("copy the example", copy.arg(&files))?;
    let begin = Instant::now();
    let mut dev = Dev::start(varve, &files)?;
    dev.until(|line| line.starts_with(RESULT))?;
    figures.at_most("start on a fresh state, to the results", "s", begin.elapsed().as_secs_f64(), 3.0);

    let mut took: Vec<f64> = Vec::new();
    for edit in 1..=EDITS {
        std::thread::sleep(Duration::from_secs(2));
        // A word more often each time, so that the list of the most frequent is another.
        fs::write(files.join("texts/BSD.txt"), "zebra ".repeat(2000 * edit as usize)).context("edit a text")?;
        let begin = Instant::now();
        dev.until(|line| line.starts_with(RESULT))?;
        took.push(begin.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    figures.at_most("an edit, to the results (median of five)", "s", took[took.len() / 2], 1.0);

    std::thread::sleep(Duration::from_secs(2));
    let before = dev.processor_seconds()?;
    std::thread::sleep(IDLE);
    let share = (dev.processor_seconds()? - before) / IDLE.as_secs_f64() * 100.0;
    figures.at_most("processor while idle", "%", share, 1.0);
    figures.at_most("memory while idle (VmRSS)", "MB", megabytes(dev.resident_bytes()?), 80.0);
    dev.stop()
}

fn many(varve: &Path, scratch: &Path, figures: &mut Figures) -> Result<()> {
    let files = scratch.join("many");
    fs::create_dir_all(files.join("many")).context("make a folder of files")?;
    fs::write(files.join("all.yaml"), MANY).context("write what is applied")?;
    for number in 0..DATUMS {
        fs::write(files.join(format!("many/{number:05}")), number.to_string()).context("write an input")?;
    }
    let mut dev = Dev::start(varve, &files)?;
    dev.until(|line| line.contains(&format!("{DATUMS} added")))?;
    let begin = Instant::now();
    let line = dev.until(|line| line.contains("  job  ") && line.contains("  nothing-"))?;
    if !line.contains(&format!("{DATUMS} processed, 0 skipped")) {
        bail!("not every datum was processed: {line}");
    }
    let rate = f64::from(DATUMS) / begin.elapsed().as_secs_f64();
    figures.add("10,000 datums, from the Commit to the Job's end", "datums/s", rate, 200.0, false);
    dev.stop()
}

/// A `varve dev` that runs; killed when dropped.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(varve: &Path, files: &Path) -> Result<Self> {
        let mut command = Command::new(varve);
        command.arg("dev").arg(files).args(["--runner", "process"]).env_remove("VARVE_STATE").env_remove("RUST_LOG");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start varve dev")?;
        let lines = BufReader::new(child.stdout.take().context("read what varve dev prints")?).lines();
        Ok(Self { child, lines })
    }

    /// Reads what it prints up to such a line.
    fn until(&mut self, is_it: impl Fn(&str) -> bool) -> Result<String> {
        for line in &mut self.lines {
            let line = line.context("read what varve dev prints")?;
            if is_it(&line) {
                return Ok(line);
            }
        }
        bail!("varve dev has ended")
    }

    /// What its process has used, its children left out.
    fn processor_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("read its times")?;
        // The name, in parentheses, may hold spaces; user and system ticks are the 12th and 13th behind it.
        let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
        let ticks: Vec<u32> = behind.split(' ').skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
        Ok(f64::from(ticks.iter().sum::<u32>()) / TICKS_A_SECOND)
    }

    fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("read its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
        Ok(kib * 1024)
    }

    fn stop(mut self) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT).context("stop varve dev")?;
        let status = self.child.wait().context("wait for varve dev")?;
        if !status.success() {
            bail!("varve dev ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended where it was stopped
        let _ = self.child.wait();
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of programs and processes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
