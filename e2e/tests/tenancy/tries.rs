//! What is tried, what the answer was, and how much of it was refused.

use anyhow::{Result, ensure};
use serde_json::Value;
use varve_e2e::Space;

/// What was tried so far, and how much of it was refused in the words that were wanted.
#[derive(Default)]
pub(crate) struct Tries {
    count: usize,
    wrong: Vec<String>,
}

impl Tries {
    /// Counts an answer, and whether it has these words.
    pub(crate) fn told(&mut self, what: &str, answer: &str, wanted: &str) {
        self.count += 1;
        println!("{what}\n    {answer}");
        if !answer.contains(wanted) {
            self.wrong.push(format!("{what}\n  wanted: {wanted}\n  got:    {answer}"));
        }
    }

    /// Tries to apply an object, without an effect where it may be applied.
    pub(crate) async fn apply(&mut self, user: &Space, what: &str, object: &Value, wanted: &str) {
        self.answered(what, user.try_apply(object).await, wanted);
    }

    /// Counts an answer of the API server.
    pub(crate) fn answered<T>(&mut self, what: &str, answer: kube::Result<T>, wanted: &str) {
        let answer = match answer {
            Ok(_) => "accepted".to_owned(),
            Err(kube::Error::Api(status)) => status.message,
            Err(error) => error.to_string(),
        };
        self.told(what, &answer, wanted);
    }

    /// Prints how many were refused, and fails unless all were.
    pub(crate) fn end(self) -> Result<()> {
        let refused = self.count - self.wrong.len();
        println!("{refused} of {} refused", self.count);
        ensure!(self.wrong.is_empty(), "{refused} of {} refused:\n{}", self.count, self.wrong.join("\n"));
        Ok(())
    }
}
