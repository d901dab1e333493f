//! The ConfigMaps that a Pipeline names, as they were when its Job was planned.
//!
//! A ConfigMap's content decides results, and its owner may change it at any time. So a Job has its pods read
//! copies: immutable, owned by the Job, named by what they hold, with nothing in them that the Job doesn't use. An
//! operator that starts finds the copies and plans with what they say (`docs/decisions/0090`). A ConfigMap that may
//! be absent and is has an empty copy, so that it stays absent for this Job.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use varve_api::pipeline::PipelineSpec;
use varve_api::{labels, names};
use varve_format::Hash;

use crate::plan::{ConfigMapContent, ConfigMaps, config_maps_needed};
use crate::pod::{Owner, managed, owned_by};

/// What a Job reads of ConfigMaps, by the name that its Pipeline gives; none where there was no such ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobConfig(BTreeMap<String, Option<ConfigMapContent>>);

/// The Job that copies are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiesOf {
    /// The namespace.
    pub namespace: String,
    /// The Job's name.
    pub job: String,
    /// The Job object's uid.
    pub uid: String,
}

impl JobConfig {
    /// What `spec` uses of the ConfigMaps that are there `now`.
    pub fn of(spec: &PipelineSpec, now: &ConfigMaps) -> Self {
        let used = used(spec);
        let needed = config_maps_needed(spec).into_iter();
        Self(
            needed
                .map(|name| {
                    let content = now.get(&name).map(|content| content.only(used.get(&name)));
                    (name, content)
                })
                .collect(),
        )
    }

    /// The same, but as the copies among `found` have it, where there are any of this very Job.
    #[must_use]
    pub fn or_as_copied(mut self, job: &CopiesOf, found: Vec<ConfigMap>) -> Self {
        let is_ours = |map: &ConfigMap| {
            map.metadata.owner_references.iter().flatten().any(|owner| owner.uid == job.uid)
                && map.immutable == Some(true)
        };
        for map in found.into_iter().filter(is_ours) {
            let annotations = map.metadata.annotations.clone().unwrap_or_default();
            let source = annotations.get(labels::COPY_OF).and_then(|source| self.0.get_mut(source));
            if let Some(place) = source {
                *place = (!annotations.contains_key(labels::COPY_OF_NOTHING)).then(|| content_of(map));
            }
        }
        self
    }

    /// What the spec digest is taken over.
    pub fn contents(&self) -> ConfigMaps {
        self.0.iter().filter_map(|(name, content)| Some((name.clone(), content.clone()?))).collect()
    }

    /// The copies.
    pub fn copies(&self, job: &CopiesOf) -> Vec<ConfigMap> {
        self.0.iter().map(|(source, content)| copy(job, source, content.as_ref())).collect()
    }

    /// `spec` as the pods have it: it names the copies.
    pub fn named_in(&self, job: &CopiesOf, spec: &PipelineSpec) -> PipelineSpec {
        let mut spec = spec.clone();
        let rename = |name: &mut String| {
            if let Some(content) = self.0.get(name) {
                *name = copy_name(job, name, content.as_ref());
            }
        };
        let env = spec.container.env.iter_mut();
        env.filter_map(|env| env.value_from.as_mut()?.config_map_key_ref.as_mut())
            .for_each(|key| rename(&mut key.name));
        let env_from = spec.container.env_from.iter_mut();
        env_from.filter_map(|from| from.config_map_ref.as_mut()).for_each(|map| rename(&mut map.name));
        let volumes = spec.pod.iter_mut().flat_map(|pod| &mut pod.volumes);
        volumes.filter_map(|volume| volume.config_map.as_mut()).for_each(|map| rename(&mut map.name));
        spec
    }
}

/// The keys that are used of each ConfigMap; none: all of them.
fn used(spec: &PipelineSpec) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut used: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut add = |name: &str, keys: Option<Vec<&str>>| {
        let all = used.entry(name.to_owned()).or_insert_with(|| Some(BTreeSet::new()));
        match (all.as_mut(), keys) {
            (Some(all), Some(keys)) => all.extend(keys.into_iter().map(str::to_owned)),
            _ => *all = None,
        }
    };
    for env in &spec.container.env {
        if let Some(key) = env.value_from.as_ref().and_then(|from| from.config_map_key_ref.as_ref()) {
            add(&key.name, Some(vec![key.key.as_str()]));
        }
    }
    for map in spec.container.env_from.iter().filter_map(|from| from.config_map_ref.as_ref()) {
        add(&map.name, None);
    }
    for map in spec.pod.iter().flat_map(|pod| &pod.volumes).filter_map(|volume| volume.config_map.as_ref()) {
        add(&map.name, map.items.as_ref().map(|items| items.iter().map(|item| item.key.as_str()).collect()));
    }
    used
}

impl ConfigMapContent {
    /// Of these keys alone; `None` or `Some(None)`: of all.
    fn only(&self, keys: Option<&Option<BTreeSet<String>>>) -> Self {
        let mut kept = self.clone();
        if let Some(Some(keys)) = keys {
            kept.data.retain(|key, _| keys.contains(key));
            kept.binary_data.retain(|key, _| keys.contains(key));
        }
        kept
    }
}

fn content_of(map: ConfigMap) -> ConfigMapContent {
    let binary = map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
    ConfigMapContent { data: map.data.into_iter().flatten().collect(), binary_data: binary.collect() }
}

fn copy(job: &CopiesOf, source: &str, content: Option<&ConfigMapContent>) -> ConfigMap {
    let owner = Owner { kind: "Job", name: job.job.clone(), uid: job.uid.clone() };
    let labels = managed([(labels::JOB, job.job.clone())]);
    let mut annotations = BTreeMap::from([(labels::COPY_OF.to_owned(), source.to_owned())]);
    if content.is_none() {
        annotations.insert(labels::COPY_OF_NOTHING.to_owned(), "true".to_owned());
    }
    let name = copy_name(job, source, content);
    let content = content.cloned().unwrap_or_default();
    let binary = content.binary_data.into_iter().map(|(key, bytes)| (key, ByteString(bytes)));
    ConfigMap {
        metadata: owned_by(&owner, &job.namespace, name, &labels, annotations),
        data: Some(content.data),
        binary_data: Some(binary.collect()),
        immutable: Some(true),
    }
}

/// Names a copy by the Job, its source and what it holds: a name never stands for two contents, so a copy that was
/// deleted leaves pods waiting, never computing with something else.
fn copy_name(job: &CopiesOf, source: &str, content: Option<&ConfigMapContent>) -> String {
    let said = content.map(|content| (&content.data, &content.binary_data));
    let text = serde_json::json!([job.uid, source, said]).to_string();
    names::config_copy(&job.job, Hash::of_content(text.as_bytes()).as_bytes())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
