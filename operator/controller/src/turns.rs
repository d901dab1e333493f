//! Who works next: turns, given out fairly between namespaces.
//!
//! kube's `applier` knows one bound for all objects and takes whichever it finds first. So a namespace with a thousand
//! changed objects, or one whose store answers after a minute, would keep all others waiting. Here every
//! reconciliation takes a turn first. Namespaces that wait are served one after the other, and none may hold so
//! many turns that nobody else gets one: it gets another only while it holds fewer than [`SHARE`] times those that
//! are free. That is the dynamic threshold by which switches share one memory between ports (Choudhury and Hahne,
//! "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking 6(2), 1998):
//! with k namespaces at work, each has 2·n ⁄ (2·k + 1) of n turns, and 1 ⁄ (2·k + 1) of them are kept for the next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How many times the free turns one namespace may hold.
const SHARE: usize = 2;

/// The turns of one kind. What waits is bounded by the objects that there are: each asks once at a time.
pub(crate) struct Turns {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Turns that are taken.
    taken: usize,
    /// Those by namespace; none that holds no turn.
    by_namespace: BTreeMap<String, usize>,
    /// Who waits, by namespace, the longest first; none where nobody does.
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// The namespaces in `waiting`, the one that is served next first.
    order: VecDeque<String>,
}

/// A turn; dropped, it is somebody else's.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    namespace: String,
}

impl Turns {
    /// This many turns, at least one.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), state: Mutex::default() })
    }

    /// Waits for a turn for an object of this namespace. Who gives up waiting is passed over.
    pub(crate) async fn take(self: &Arc<Self>, namespace: &str) -> Turn {
        let (sender, receiver) = oneshot::channel();
        self.state().ask(namespace, sender);
        self.give_out();
        match receiver.await {
            Ok(turn) => turn,
            // Senders leave the state only with a turn in them.
            Err(_) => unreachable!("who waits is not forgotten"),
        }
    }

    fn give_out(self: &Arc<Self>) {
        loop {
            // The lock is let go before a turn is sent: one that nobody receives any more comes back at once.
            let Some((namespace, sender)) = self.state().next(self.most) else { return };
            drop(sender.send(Turn { turns: self.clone(), namespace }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.state().give_back(&self.namespace);
        self.turns.give_out();
    }
}

impl State {
    fn ask(&mut self, namespace: &str, sender: oneshot::Sender<Turn>) {
        let waiting = self.waiting.entry(namespace.to_owned()).or_default();
        if waiting.is_empty() {
            self.order.push_back(namespace.to_owned());
        }
        waiting.push_back(sender);
    }

    /// Takes a turn for whoever is to have the next one.
    fn next(&mut self, most: usize) -> Option<(String, oneshot::Sender<Turn>)> {
        loop {
            let free = most - self.taken;
            let may = |namespace: &String| self.by_namespace.get(namespace).copied().unwrap_or(0) < SHARE * free;
            let namespace = self.order.iter().position(may).and_then(|at| self.order.remove(at))?;
            let waiting = self.waiting.entry(namespace.clone()).or_default();
            let sender = std::iter::from_fn(|| waiting.pop_front()).find(|sender| !sender.is_closed());
            if waiting.is_empty() {
                self.waiting.remove(&namespace);
            } else {
                self.order.push_back(namespace.clone());
            }
            if let Some(sender) = sender {
                self.taken += 1;
                *self.by_namespace.entry(namespace.clone()).or_default() += 1;
                return Some((namespace, sender));
            }
        }
    }

    fn give_back(&mut self, namespace: &str) {
        self.taken -= 1;
        if let Some(held) = self.by_namespace.get_mut(namespace) {
            *held -= 1;
            if *held == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Asks; a turn that is there is there at once.
    fn ask(turns: &Arc<Turns>, namespace: &'static str) -> Option<Turn> {
        let turns = turns.clone();
        async move { turns.take(namespace).await }.now_or_never()
    }

    #[test]
    fn one_namespace_alone_leaves_a_third_for_the_next() {
        let turns = Turns::new(16);
        let held: Vec<Turn> = std::iter::from_fn(|| ask(&turns, "a")).collect();
        assert_eq!(held.len(), 11);
        let others: Vec<Turn> = std::iter::from_fn(|| ask(&turns, "b")).collect();
        assert_eq!(others.len(), 4);
        assert!(ask(&turns, "c").is_some(), "and there is one for a third");
    }

    #[test]
    fn of_few_turns_everybody_still_gets_one() {
        let turns = Turns::new(1);
        let first = ask(&turns, "a").unwrap();
        assert!(ask(&turns, "b").is_none());
        drop(first);
        assert!(ask(&turns, "b").is_some());
    }

    #[tokio::test]
    async fn those_that_wait_are_served_in_turn_and_each_in_its_order() {
        let turns = Turns::new(1);
        let first = turns.take("a").await;
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        for (namespace, name) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")] {
            let (turns, sender) = (turns.clone(), sender.clone());
            tokio::spawn(async move {
                let _turn = turns.take(namespace).await;
                let _ = sender.send(name);
            });
            tokio::task::yield_now().await; // it asks before the next one does
        }
        drop((first, sender));
        let mut order = Vec::new();
        while let Some(name) = served.recv().await {
            order.push(name);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_any_more_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = turns.take("a").await;
        let mut gives_up = Box::pin(turns.take("a"));
        assert!(gives_up.as_mut().now_or_never().is_none());
        let mut late = Box::pin(turns.take("a"));
        assert!(late.as_mut().now_or_never().is_none());
        let mut waits = Box::pin(turns.take("b"));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(gives_up);
        drop(first); // `late` is given it, and goes without having looked
        drop(late);
        assert!(waits.now_or_never().is_some());
    }
}
