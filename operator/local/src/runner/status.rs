//! A pod's status, as the kubelet writes it. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not started, and why.
    Waiting { reason: String, message: Option<String> },
    /// Started then.
    Running(Timestamp),
    /// Ended.
    Ended(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub(crate) reason: &'static str,
    /// Its last words.
    pub(crate) message: Option<String>,
}

/// A container and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Empty until it is known.
    pub(crate) image_id: String,
    pub(crate) state: State,
}

impl Record {
    pub(crate) fn waiting(container: &Container, reason: &str) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: String::new(),
            state: State::Waiting { reason: reason.to_owned(), message: None },
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    fn has_succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(ended) if ended.code == 0)
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    fn status(&self, is_init: bool) -> ContainerStatus {
        let (mut state, mut id) = (ContainerState::default(), None);
        let time = |at: &Timestamp| Some(Time(*at));
        match &self.state {
            State::Waiting { reason, message } => {
                state.waiting = Some(ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() });
            }
            State::Running(at) => {
                state.running = Some(ContainerStateRunning { started_at: time(at) });
                id = Some(format!("varve://{}", self.name));
            }
            State::Ended(ended) => {
                state.terminated = Some(ContainerStateTerminated {
                    exit_code: ended.code,
                    reason: Some(ended.reason.to_owned()),
                    message: ended.message.clone(),
                    started_at: time(&ended.started),
                    finished_at: time(&ended.finished),
                    ..ContainerStateTerminated::default()
                });
                id = Some(format!("varve://{}", self.name));
            }
        }
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            container_id: id,
            ready: if is_init { self.has_succeeded() } else { self.is_running() },
            started: Some(self.is_running()),
            restart_count: 0,
            state: Some(state),
            last_state: Some(ContainerState::default()),
            ..ContainerStatus::default()
        }
    }
}

/// Why a pod has failed as a whole, whatever its containers did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The reason of its `DisruptionTarget`, where nobody of the pod's is to blame.
    pub(crate) disruption: Option<&'static str>,
}

/// What is known of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) init: Vec<Record>,
    pub(crate) containers: Vec<Record>,
    /// When it came to this node.
    pub(crate) started: Option<Timestamp>,
    pub(crate) verdict: Option<Verdict>,
}

impl Known {
    /// A pod of which nothing has begun.
    pub(crate) fn of(pod: &Pod, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.unwrap_or_default();
        let reason = if init.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        Self {
            init: init.iter().map(|container| Record::waiting(container, "PodInitializing")).collect(),
            containers: spec.containers.iter().map(|container| Record::waiting(container, reason)).collect(),
            started: Some(now),
            verdict: None,
        }
    }

    fn is_initialized(&self) -> bool {
        self.init.iter().all(Record::has_succeeded)
    }

    pub(crate) fn phase(&self) -> &'static str {
        if self.verdict.is_some() {
            return "Failed";
        }
        let init_failed = self.init.iter().any(|record| record.has_ended() && !record.has_succeeded());
        if init_failed || (self.is_initialized() && self.containers.iter().all(Record::has_ended)) {
            let good = !init_failed && self.containers.iter().all(Record::has_succeeded);
            return if good { "Succeeded" } else { "Failed" };
        }
        let begun = self.containers.iter().any(|record| record.has_ended() || record.is_running());
        if begun { "Running" } else { "Pending" }
    }

    /// The status; `old` is the one before it, whose conditions keep the times at which they changed.
    pub(crate) fn status(&self, old: Option<&PodStatus>, now: Timestamp) -> PodStatus {
        let phase = self.phase();
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let is_ready = !is_over && self.containers.iter().all(Record::is_running);
        let why = match phase {
            "Succeeded" => "PodCompleted",
            "Failed" => "PodFailed",
            _ => "ContainersNotReady",
        };
        let initialized = self.is_initialized() || phase == "Succeeded";
        let mut wanted = vec![
            ("PodReadyToStartContainers", !is_over, None, None),
            ("Initialized", initialized, (!initialized).then_some("ContainersNotInitialized"), None),
            ("Ready", is_ready, (!is_ready).then_some(why), None),
            ("ContainersReady", is_ready, (!is_ready).then_some(why), None),
            ("PodScheduled", true, None, None),
        ];
        if let Some(verdict) = &self.verdict
            && let Some(reason) = verdict.disruption
        {
            wanted.push(("DisruptionTarget", true, Some(reason), Some(verdict.message.as_str())));
        }
        let before = |type_: &str| {
            let conditions = old.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.clone().find(|condition| condition.type_ == type_)
        };
        let conditions = wanted.into_iter().map(|(type_, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let since =
                before(type_).filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
            PodCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.map(str::to_owned),
                message: message.map(str::to_owned),
                last_transition_time: since.or(Some(Time(now))),
                ..PodCondition::default()
            }
        });
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(conditions.collect()),
            start_time: self.started.map(Time),
            reason: self.verdict.as_ref().map(|verdict| verdict.reason.to_owned()),
            message: self.verdict.as_ref().map(|verdict| verdict.message.clone()),
            init_container_statuses: (!self.init.is_empty())
                .then(|| self.init.iter().map(|record| record.status(true)).collect()),
            container_statuses: Some(self.containers.iter().map(|record| record.status(false)).collect()),
            qos_class: old.and_then(|status| status.qos_class.clone()).or_else(|| Some("Burstable".to_owned())),
            ..PodStatus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn known() -> Known {
        let pod = serde_json::from_value(json!({ "metadata": {}, "spec": {
            "initContainers": [{ "name": "install" }],
            "containers": [{ "name": "user", "image": "edges:1" }, { "name": "keeper", "image": "varve:1" }],
        } }))
        .unwrap();
        Known::of(&pod, at(1))
    }

    fn ended(code: i32) -> State {
        State::Ended(Ended { code, started: at(2), finished: at(3), reason: "Error", message: None })
    }

    fn holds<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
        status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    }

    #[test]
    fn a_pod_goes_from_pending_over_running_to_its_end() {
        let mut known = known();
        assert_eq!(known.phase(), "Pending");
        known.init[0].state = ended(0);
        assert_eq!(known.phase(), "Pending");
        known.containers[0].state = State::Running(at(2));
        known.containers[1].state = State::Running(at(2));
        assert_eq!(known.phase(), "Running");
        assert_eq!(holds(&known.status(None, at(9)), "Ready").unwrap().status, "True");
        known.containers[0].state = ended(0);
        assert_eq!(known.phase(), "Running", "the keeper has not ended");
        known.containers[1].state = ended(75);
        assert_eq!(known.phase(), "Failed");
        known.containers[1].state = ended(0);
        assert_eq!(known.phase(), "Succeeded");
    }

    #[test]
    fn a_pod_whose_init_container_failed_has_failed() {
        let mut known = known();
        known.init[0].state = ended(1);
        assert_eq!(known.phase(), "Failed");
    }

    #[test]
    fn a_condition_keeps_the_time_at_which_it_changed() {
        let mut known = known();
        let first = known.status(None, at(5));
        known.init[0].state = ended(0);
        let second = known.status(Some(&first), at(6));
        let time = |type_: &str| holds(&second, type_).unwrap().last_transition_time.as_ref().unwrap().0;
        assert_eq!((time("PodScheduled"), time("Initialized")), (at(5), at(6)));
    }

    #[test]
    fn a_pod_that_was_taken_away_says_so_where_failure_policies_look() {
        let disruption = Some("TerminationByKubelet");
        let verdict = Verdict { reason: "Terminated", message: "the node shut down".into(), disruption };
        let known = Known { verdict: Some(verdict), ..known() };
        let status = known.status(None, at(5));
        assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Terminated")));
        let target = holds(&status, "DisruptionTarget").unwrap();
        assert_eq!((target.status.as_str(), target.message.as_deref()), ("True", Some("the node shut down")));
    }
}
