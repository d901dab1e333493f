//! Whether the pods of a Job run the image that it is for, where that is known by its reference alone: another node
//! may have another image under the same name.
//!
//! Results of a pod count once the pod is seen to run the right one. Where one runs another, or is gone before it was
//! seen, nothing of the Job is believed: which results are the wrong image's nobody can tell any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use uuid::Uuid;
use varve_api::Job;
use varve_engine::pod::{ImageId, image_id};

use super::results::Results;

/// What is known of the images that a Job's pods run.
#[derive(Debug, Default)]
pub(super) struct Images {
    right: BTreeSet<Uuid>,
    wrong: Option<String>,
    /// Names that nodes report, with the configuration that their registry told, if it did.
    names: BTreeMap<String, Option<String>>,
}

impl Images {
    /// A name that a node reports, of which the registry must be asked whether it is the expected image: nodes call an
    /// image by another name once somebody pulled it by that.
    pub(super) fn unclear(&self, job: &Job, pods: &[Arc<Pod>]) -> Option<String> {
        let expected = job.spec.snapshot.image.unpinned()?;
        pods.iter().filter_map(|pod| image_id(pod)).find_map(|id| match id {
            ImageId::Name(name) if !name.ends_with(expected) && !self.names.contains_key(&name) => Some(name),
            _ => None,
        })
    }

    /// The registry of a name has told its configuration, or has not.
    pub(super) fn told(&mut self, name: String, configuration: Option<String>) {
        self.names.insert(name, configuration);
    }

    /// Whether what a node calls so is the image that the Job is for.
    fn is_right(&self, job: &Job, id: &ImageId) -> bool {
        let image = &job.spec.snapshot.image;
        let is_known_as =
            |digest: &str| [&image.image_id, &image.config_digest].into_iter().flatten().any(|it| it == digest);
        let told = match id {
            ImageId::Name(name) => self.names.get(name).and_then(Option::as_deref),
            ImageId::Config(_) => None,
        };
        is_known_as(id.digest()) || told.is_some_and(is_known_as)
    }

    /// Looks at the pods. True where what is known has changed.
    pub(super) fn look(&mut self, job: &Job, pods: &[Arc<Pod>]) -> bool {
        let Some(expected) = job.spec.snapshot.image.unpinned() else { return false };
        let before = (self.right.len(), self.wrong.is_some());
        for pod in pods {
            let Some(found) = image_id(pod) else { continue };
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            if !self.is_right(job, &found) {
                let (reference, found) = (&job.spec.snapshot.image.reference, found.digest());
                self.wrong.get_or_insert_with(|| {
                    format!(
                        "{reference} is {expected} for the Pipeline, but {found} on node {node}, so nothing of this Job \
                         counts: give the image a name under which all nodes have the same, or push it to a registry that the \
                         operator can ask; then delete this Job, and its inputs are computed again"
                    )
                });
            } else if let Some(uid) = pod.uid().and_then(|uid| uid.parse().ok()) {
                self.right.insert(uid);
            }
        }
        before != (self.right.len(), self.wrong.is_some())
    }

    /// Whether what this pod recorded counts.
    pub(super) fn trusts(&self, job: &Job, pod: Uuid) -> bool {
        job.spec.snapshot.image.unpinned().is_none() || self.right.contains(&pod)
    }

    /// Once no pod is left: whether one has recorded results whose image nobody saw.
    pub(super) fn settle(&mut self, job: &Job, results: &Results) {
        let unseen = results.pods().find(|pod| !self.trusts(job, *pod));
        if let (Some(pod), None) = (unseen, &self.wrong) {
            self.wrong = Some(format!(
                "the pod with uid {pod} is gone before it was seen whether its {} is that of the Pipeline, so nothing of \
                 this Job counts: push the image to a registry that the operator can ask, or delete this Job to try again",
                job.spec.snapshot.image.reference
            ));
        }
    }

    /// Why nothing of the Job can be believed, if so.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use varve_api::job::JobSpec;

    use super::*;

    const RIGHT: &str = "sha256:1";

    fn job(image: serde_json::Value) -> Job {
        let mut job = Job::new("edges-1", JobSpec::default());
        job.spec.snapshot.image = serde_json::from_value(image).unwrap();
        job
    }

    fn pod(uid: Uuid, image_id: &str) -> Arc<Pod> {
        let container = json!({"name": "user", "image": "x", "imageID": image_id, "ready": true, "restartCount": 0});
        let pod = json!({"metadata": {"uid": uid}, "status": {"containerStatuses": [container]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn of_an_image_without_a_pin_only_results_of_pods_that_were_seen_count() {
        let job = job(json!({"reference": "edges:1", "imageId": RIGHT}));
        let (seen, not_yet) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut images = Images::default();
        assert!(images.look(&job, &[pod(seen, "host/edges@sha256:1"), pod(not_yet, "")]));
        assert_eq!((images.trusts(&job, seen), images.trusts(&job, not_yet)), (true, false));
        assert_eq!(images.wrong(), None);
        assert!(images.look(&job, &[pod(not_yet, "sha256:2")]));
        assert!(images.wrong().unwrap().contains("edges:1 is sha256:1 for the Pipeline, but sha256:2 on node"));
    }

    #[test]
    fn a_name_that_an_image_was_pulled_by_since_is_asked_of_its_registry() {
        let job = job(json!({"reference": "edges:1", "imageId": RIGHT, "configDigest": RIGHT}));
        let pods = [pod(Uuid::from_u128(1), "host/edges@sha256:7")];
        let mut images = Images::default();
        let name = images.unclear(&job, &pods).unwrap();
        assert_eq!(name, "host/edges@sha256:7");
        images.told(name, Some(RIGHT.into()));
        assert_eq!(images.unclear(&job, &pods), None);
        assert!(images.look(&job, &pods) && images.wrong().is_none() && images.trusts(&job, Uuid::from_u128(1)));

        let mut images = Images::default();
        images.told("host/edges@sha256:7".into(), None);
        assert!(images.look(&job, &pods) && images.wrong().is_some());
    }

    #[test]
    fn of_an_image_with_a_pin_all_count() {
        let job = job(json!({"reference": "edges:1", "imageId": RIGHT, "manifestDigest": "sha256:9"}));
        let mut images = Images::default();
        assert!(!images.look(&job, &[pod(Uuid::nil(), "sha256:2")]));
        assert!(images.trusts(&job, Uuid::nil()) && images.wrong().is_none());
    }
}
