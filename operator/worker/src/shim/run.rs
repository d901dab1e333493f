//! One run of the user's command, from its start until no process of it is left.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus};

use super::keeper_stream::Over;
use super::{Event, Fatal, Shim, child, handover, oom, tee};
use crate::pod::unix_ns;
use crate::protocol::{Ended, Memory, Outcome, Run, Stream, ToShim};

/// How long killed processes may take to be gone. Only one stuck in the kernel takes longer, and
/// then waiting would not help.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Pause between two rounds of killing: a killed process's children become ours in between.
const KILL_INTERVAL: Duration = Duration::from_millis(5);

/// How long a killed command may take to be gone before it is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Why the shim itself ended the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    TimedOut,
    PodStops,
}

/// What is to happen to the command next, and when.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It may run, until then if it has a time limit.
    Running(Option<Instant>),
    /// It was asked to end, and is killed then.
    Asked(StopReason, Instant),
    /// It was killed, and is again then: a process that was just forking may have got away.
    Killed(StopReason, Instant),
}

impl Phase {
    fn next_deadline(self) -> Option<Instant> {
        match self {
            Self::Running(limit) => limit,
            Self::Asked(_, kill_at) | Self::Killed(_, kill_at) => Some(kill_at),
        }
    }

    fn stop_reason(self) -> Option<StopReason> {
        match self {
            Self::Running(_) => None,
            Self::Asked(reason, _) | Self::Killed(reason, _) => Some(reason),
        }
    }
}

impl Shim<'_> {
    /// Runs the command to its end; fails only if the keeper is gone.
    pub(super) fn run(&mut self, run: &Run) -> Result<Ended, Fatal> {
        let kills_before = oom::kills(&self.config.cgroup);
        self.running.clear();
        let started_ns = unix_ns();
        let outcome = if self.stop_by.is_some() {
            Outcome::Stopped
        } else {
            match child::start(run) {
                Err(failure) => Outcome::NotStarted(failure),
                Ok(child) => self.attend(child, run.timeout_seconds.map(Duration::from_secs))?,
            }
        };
        let ended_ns = unix_ns();
        let output_bytes = if matches!(outcome, Outcome::Exited { .. }) {
            handover::open_up(&self.config.out)
        } else {
            handover::clear(&self.config.out);
            0
        };
        let oom_kills = oom::kills(&self.config.cgroup).saturating_sub(kills_before);
        let memory = if oom_kills > 0 { oom::memory(&self.config.cgroup) } else { Memory::default() };
        let running = std::mem::take(&mut self.running);
        Ok(Ended { outcome, oom_kills, memory, running, started_ns, ended_ns, output_bytes })
    }

    fn attend(&mut self, child: child::Child, limit: Option<Duration>) -> Result<Outcome, Fatal> {
        let over = Over::default();
        tee::copy(child.stdout, Stream::Stdout, self.link.clone(), over.clone(), self.sender.clone());
        tee::copy(child.stderr, Stream::Stderr, self.link.clone(), over.clone(), self.sender.clone());
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut open_pipes = 2;
        let (status, reason) = self.wait_for(child.pid, Phase::Running(deadline), &mut open_pipes)?;
        self.leave_none_behind(&mut open_pipes)?;
        self.link.end(&over);
        Ok(match (reason, status) {
            (Some(StopReason::TimedOut), _) => Outcome::TimedOut,
            (Some(StopReason::PodStops), _) => Outcome::Stopped,
            (None, status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Outcome::Exited { code },
                (None, signal) => Outcome::Signalled { signal: signal.unwrap_or_default() },
            },
        })
    }

    /// Waits until the main process has ended, stopping it when its time or the pod's is up.
    fn wait_for(
        &mut self,
        main: Pid,
        mut phase: Phase,
        open_pipes: &mut u8,
    ) -> Result<(WaitStatus, Option<StopReason>), Fatal> {
        loop {
            let event = match phase.next_deadline() {
                None => self.events.recv().ok(),
                Some(at) => self.events.recv_timeout(at.saturating_duration_since(Instant::now())).ok(),
            };
            match event {
                Some(Event::ChildChanged) => {
                    if let Some(status) = child::reap(Some(main)).watched {
                        return Ok((status, phase.stop_reason()));
                    }
                }
                Some(Event::Terminate) => {
                    self.begin_to_stop();
                    if let Phase::Running(_) = phase {
                        phase = self.ask_to_end(main, StopReason::PodStops);
                    }
                }
                Some(Event::PipeClosed) => *open_pipes = open_pipes.saturating_sub(1),
                Some(Event::KeeperGone | Event::Keeper(ToShim::Bye { .. })) => {
                    self.leave_none_behind(open_pipes).ok();
                    return Err(Fatal::KeeperGone);
                }
                Some(Event::Keeper(ToShim::Run(_))) => {} // never said while a run is on
                None => match phase {
                    Phase::Running(_) => {
                        self.running = child::command_lines(main);
                        phase = self.ask_to_end(main, StopReason::TimedOut);
                    }
                    Phase::Asked(reason, _) | Phase::Killed(reason, _) => {
                        child::signal(main, Signal::KILL);
                        child::kill_left_over();
                        phase = Phase::Killed(reason, Instant::now() + KILL_AGAIN);
                    }
                },
            }
        }
    }

    fn ask_to_end(&self, main: Pid, reason: StopReason) -> Phase {
        child::signal(main, Signal::TERM);
        Phase::Asked(reason, Instant::now() + self.config.grace)
    }

    /// Kills what the command left running and waits until it is gone and all it printed was
    /// handed on.
    fn leave_none_behind(&mut self, open_pipes: &mut u8) -> Result<(), Fatal> {
        let give_up = Instant::now() + GONE_WITHIN;
        let mut none_left = child::reap(None).none_left;
        while (!none_left || *open_pipes > 0) && Instant::now() < give_up {
            if !none_left {
                child::kill_left_over();
            }
            let wait = if none_left { give_up.saturating_duration_since(Instant::now()) } else { KILL_INTERVAL };
            match self.events.recv_timeout(wait) {
                Ok(Event::PipeClosed) => *open_pipes = open_pipes.saturating_sub(1),
                Ok(Event::Terminate) => self.begin_to_stop(),
                Ok(Event::KeeperGone) => return Err(Fatal::KeeperGone),
                Ok(_) | Err(_) => {}
            }
            none_left = none_left || child::reap(None).none_left;
        }
        Ok(())
    }
}
