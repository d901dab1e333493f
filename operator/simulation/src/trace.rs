//! What happened in a life, line by line, with the simulated time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The lines. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    begun: Instant,
    lines: Arc<Mutex<Vec<String>>>,
    is_told: bool,
}

impl Trace {
    /// An empty one; where `is_told`, each line goes to standard output at once, too.
    pub(crate) fn new(is_told: bool) -> Self {
        Self { begun: Instant::now(), lines: Arc::default(), is_told }
    }

    pub(crate) fn say(&self, who: &str, what: impl AsRef<str>) {
        let line = format!("{:>10.3}  {who:<9} {}", self.begun.elapsed().as_secs_f64(), what.as_ref());
        if self.is_told {
            println!("{line}");
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
