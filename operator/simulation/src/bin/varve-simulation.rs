//! Lives lives: those of a range of seeds, as many as fit into a time, or one again with all that happened.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use varve_simulation::{Life, REGRESSIONS, live};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lives lives of Varve's controllers, and says which laws were broken.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The first seed. From the very first one, the lives that found bugs are lived before all others.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1000, conflicts_with = "minutes")]
    seeds: u64,
    /// As many seeds as fit into this time.
    #[arg(long)]
    minutes: Option<u64>,
    /// This seed alone, with everything that happened.
    #[arg(long, conflicts_with_all = ["from", "seeds", "minutes"])]
    replay: Option<u64>,
    /// This seed alone, in silence where all is well.
    #[arg(long, hide = true)]
    one: Option<u64>,
    /// Ends with the first life that breaks a law.
    #[arg(long)]
    first: bool,
    /// Where what happened in lives that broke a law is kept.
    #[arg(long, default_value = "out/soak")]
    traces: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.replay {
        // What the controllers log goes between what happens, where RUST_LOG asks for it.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().without_time().with_env_filter(filter).with_writer(std::io::stdout).init();
        let life = live(seed, true);
        println!("\nseed {seed}: {}", life.counts);
        report(&life);
        return if life.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(seed) = args.one {
        let life = live(seed, false);
        if life.broken.is_empty() {
            return ExitCode::SUCCESS;
        }
        report(&life);
        keep(&args.traces, &life);
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let until = args.minutes.map(|minutes| begun + Duration::from_secs(60 * minutes));
    let last = args.minutes.map_or(args.from + args.seeds, |_| u64::MAX);
    let known: Vec<u64> = REGRESSIONS.iter().map(|known| known.seed).filter(|_| args.from == 0).collect();
    let seeds = Mutex::new(known.iter().copied().chain((args.from..last).filter(|seed| !known.contains(seed))));
    let (lived, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let next = || {
        let is_enough = args.first && failed.load(Ordering::SeqCst) > 0;
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        if is_enough || is_late { None } else { seeds.lock().unwrap_or_else(PoisonError::into_inner).next() }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    lived.fetch_add(1, Ordering::SeqCst);
                    if let Err(error) = apart(seed, &args.traces) {
                        failed.fetch_add(1, Ordering::SeqCst);
                        print!("{error}");
                    }
                }
            });
        }
    });
    let (lived, failed, seconds) = (lived.into_inner(), failed.into_inner(), begun.elapsed().as_secs_f64());
    #[allow(clippy::cast_precision_loss)] // fewer than 2⁵² lives
    let rate = lived as f64 * 60.0 / seconds;
    println!("{lived} lives in {seconds:.1} s, {rate:.0} a minute; {failed} broke a law");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lives a life in a process of its own: what one leaves behind in a process, such as a count of hash maps, would turn
/// the next another way than when it is lived alone. Fails with what is to be told.
fn apart(seed: u64, traces: &Path) -> Result<(), String> {
    let lived = std::env::current_exe()
        .and_then(|program| Command::new(program).args(["--one", &seed.to_string(), "--traces"]).arg(traces).output());
    match lived {
        Ok(lived) if lived.status.success() => Ok(()),
        Ok(lived) if lived.status.code() == Some(1) => Err(String::from_utf8_lossy(&lived.stdout).into_owned()),
        Ok(lived) => {
            Err(format!("seed {seed}: it ended with {}: {}\n", lived.status, String::from_utf8_lossy(&lived.stderr)))
        }
        Err(error) => Err(format!("seed {seed}: it can't be lived: {error}\n")),
    }
}

fn report(life: &Life) {
    let known = REGRESSIONS.iter().find(|known| known.seed == life.seed);
    if let Some(known) = known.filter(|_| !life.broken.is_empty()) {
        println!("seed {}: this life once found that {}", life.seed, known.bug);
    }
    for broken in &life.broken {
        println!("seed {}: {broken}", life.seed);
    }
}

/// Keeps what happened in a life that broke a law.
fn keep(folder: &Path, life: &Life) {
    let file = folder.join(format!("seed-{}.txt", life.seed));
    let kept = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, life.trace.join("\n")));
    let shown = kept.map_or_else(|error| format!("lost: {error}"), |()| file.display().to_string());
    println!("  what happened: {shown}; again: cargo xtask soak --replay {}", life.seed);
}
