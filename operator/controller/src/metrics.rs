//! What `/metrics` shows. Labels are of closed sets (kinds, verbs, outcomes), never names of objects:
//! a metric's size must not grow with what users make.

use std::time::Duration;

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::act::Call;

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    wait_seconds: HistogramVec,
    writes: IntCounterVec,
    store_requests: IntCounterVec,
    store_seconds: HistogramVec,
    leading: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero, in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made =
                IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are literals of this file");
            registry.register(Box::new(made.clone())).expect("each name is registered once");
            made
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let made = HistogramVec::new(options, labels).expect("names and labels are literals of this file");
            registry.register(Box::new(made.clone())).expect("each name is registered once");
            made
        };
        let reconciles =
            counter("varve_reconciles_total", "Reconciliations by kind and how they ended.", &["kind", "outcome"]);
        let reconcile_seconds = histogram(
            "varve_reconcile_seconds",
            "How long a reconciliation took, by kind.",
            &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0],
            &["kind"],
        );
        let wait_seconds = histogram(
            "varve_reconcile_wait_seconds",
            "How long an object that was to be reconciled waited for its turn, by kind.",
            &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0],
            &["kind"],
        );
        let writes = counter(
            "varve_api_writes_total",
            "Writes sent to the API server and named writes to the store, by kind and verb.",
            &["kind", "verb"],
        );
        let store_requests = counter(
            "varve_store_requests_total",
            "Requests to the object store, by operation and outcome.",
            &["operation", "outcome"],
        );
        let store_seconds = histogram(
            "varve_store_request_seconds",
            "How long the object store took to answer, by operation.",
            &[0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0],
            &["operation"],
        );
        let leading = IntGauge::new("varve_leading", "1 on the replica that leads, else 0.")
            .expect("the name is a literal of this file");
        registry.register(Box::new(leading.clone())).expect("each name is registered once");
        Self { registry, reconciles, reconcile_seconds, wait_seconds, writes, store_requests, store_seconds, leading }
    }

    /// A reconciliation of `kind` ended in `outcome` (`ok`, `error`, `stalled`).
    pub fn reconcile(&self, kind: &str, outcome: &str, took: Duration) {
        self.reconciles.with_label_values(&[kind, outcome]).inc();
        self.reconcile_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// An object of `kind` has had its turn to be reconciled, so long after it was to be.
    pub fn waited(&self, kind: &str, waited: Duration) {
        self.wait_seconds.with_label_values(&[kind]).observe(waited.as_secs_f64());
    }

    /// A write is being made.
    pub fn write(&self, call: &Call) {
        self.writes.with_label_values(&[call.kind.as_str(), call.verb.as_str()]).inc();
    }

    /// The store answered.
    pub fn store_request(&self, operation: &str, outcome: &str, took: Duration) {
        self.store_requests.with_label_values(&[operation, outcome]).inc();
        self.store_seconds.with_label_values(&[operation]).observe(took.as_secs_f64());
    }

    /// This replica leads, or does so no more.
    pub fn set_leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing into memory fails only on families without metrics, which are skipped by gather().
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Verb;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.write(&Call::new(Verb::MoveHead, "Repo", "field/images"));
        metrics.reconcile("Commit", "ok", Duration::from_millis(3));
        metrics.set_leading(true);
        let text = metrics.text();
        assert!(text.contains(r#"varve_api_writes_total{kind="Repo",verb="move-head"} 1"#));
        assert!(text.contains(r#"varve_reconciles_total{kind="Commit",outcome="ok"} 1"#));
        assert!(text.contains("varve_leading 1"));
        assert!(!text.contains("images"), "names of objects are no labels");
    }
}
