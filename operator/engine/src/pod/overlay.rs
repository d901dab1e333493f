//! `pod.overlay`: what a Pipeline sets in its pods beyond the fields of `container` and `pod`.
//!
//! Three steps, each of which would do alone. Every path must stand in [`ALLOWED`]. What is allowed is laid over the pod
//! that is ours. And the pod that comes of it must be ours again once all that the list allows is taken away: whatever
//! the first two have missed, install, keeper, our volumes and our mounts are as they were.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, SELinuxOptions, Volume};
use serde_json::Value;
use varve_api::pipeline::PipelineSpec;
use varve_api::pipeline::overlay::{ALLOWED, Allowed, PROJECTED, Rule, is_taken};
use varve_api::pod;

use super::check::{PodError, is_own_path};

/// `template`, a pod of ours, with the overlay of `spec` laid over it.
pub(super) fn lay(template: &PodTemplateSpec, spec: &PipelineSpec) -> Result<PodTemplateSpec, PodError> {
    let merged = merged(template, spec)?;
    if without_what_is_allowed(&merged, template) == *template {
        Ok(merged)
    } else {
        Err(PodError::OverlayShape { why: "it would change what is Varve's own".into() })
    }
}

/// The same of a part of a pod, in which not all is that ours have.
pub(super) fn merged(template: &PodTemplateSpec, spec: &PipelineSpec) -> Result<PodTemplateSpec, PodError> {
    let Some(overlay) = overlay_of(spec) else { return Ok(template.clone()) };
    volumes(spec)?;
    let mut merged = serde_json::to_value(template).expect("a pod template is JSON");
    merge(&mut merged, overlay, "");
    serde_json::from_value(merged).map_err(|error| shape(&error))
}

/// The names of all volumes that a Pipeline brings; an error where its overlay may not be.
pub(super) fn volumes(spec: &PipelineSpec) -> Result<BTreeSet<String>, PodError> {
    let named = spec.pod.iter().flat_map(|pod| &pod.volumes).map(|volume| volume.name.clone());
    let mut look = Look { volumes: named.collect() };
    if let Some(overlay) = overlay_of(spec) {
        let all: Vec<_> = ALLOWED.iter().map(|allowed| (allowed, allowed.path)).collect();
        look.at(overlay, "", &all)?;
        check_shape(overlay)?;
    }
    Ok(look.volumes)
}

fn overlay_of(spec: &PipelineSpec) -> Option<&Value> {
    spec.pod.as_ref()?.overlay.as_ref()
}

/// An entry of the list, and what of its path is below where we are.
type Below = (&'static Allowed, &'static str);

/// A look at an overlay, path by path.
struct Look {
    /// The names that volumes have so far.
    volumes: BTreeSet<String>,
}

impl Look {
    /// Looks at what stands at `path`, of which the list allows what is in `below`.
    fn at(&mut self, value: &Value, path: &str, below: &[Below]) -> Result<(), PodError> {
        let Value::Object(fields) = value else {
            return Err(PodError::OverlayShape { why: format!("{} must be an object", named(path)) });
        };
        for (name, field) in fields {
            let whole = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.field(field, &whole, name, below)?;
        }
        Ok(())
    }

    fn field(&mut self, value: &Value, path: &str, name: &str, below: &[Below]) -> Result<(), PodError> {
        let forbidden = || PodError::OverlayPath { path: path.to_owned() };
        let mut within = Vec::new();
        let mut entries = None;
        for (allowed, rest) in below {
            let (head, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let (key, entry) = head.split_once('[').map_or((head, None), |(key, entry)| (key, entry.strip_suffix(']')));
            if key != name {
                continue;
            }
            if rest.is_empty() {
                return self.value(value, path, allowed.rule);
            }
            entries = entry;
            within.push((*allowed, rest));
        }
        match entries {
            _ if within.is_empty() => Err(forbidden()),
            None => self.at(value, path, &within),
            Some(only) => self.entries(value, path, only, &within),
        }
    }

    /// Looks at the entries of a list; where `only` says so, just the one of that name may be there.
    fn entries(&mut self, value: &Value, path: &str, only: &str, below: &[Below]) -> Result<(), PodError> {
        let Value::Array(entries) = value else {
            return Err(PodError::OverlayShape { why: format!("{path} must be a list") });
        };
        for (index, entry) in entries.iter().enumerate() {
            let name = entry["name"].as_str().unwrap_or_default();
            let shown = if name.is_empty() { index.to_string() } else { name.to_owned() };
            let path = format!("{path}[{shown}]");
            if !only.is_empty() && name != only {
                return Err(PodError::OverlayPath { path });
            }
            self.at(entry, &path, below)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, path: &str, rule: Rule) -> Result<(), PodError> {
        let text = value.as_str().unwrap_or_default();
        let is_right = match rule {
            Rule::Any | Rule::NoStoreSecret => true, // Secrets are looked at in the pod as a whole
            Rule::ForeignKeys => value.as_object().is_some_and(|map| !map.keys().any(|key| is_taken(key))),
            Rule::False => *value == Value::Bool(false),
            Rule::PlainSources => has_plain_sources(value),
            Rule::Confined => value["type"].as_str().is_some_and(|profile| profile != "Unconfined"),
            Rule::NewVolume => {
                !text.is_empty() && !text.starts_with(pod::VOLUME) && self.volumes.insert(text.to_owned())
            }
            Rule::DevicePath => !is_own_path(text),
        };
        if is_right { Ok(()) } else { Err(PodError::OverlayValue { path: path.to_owned(), takes: rule.words() }) }
    }
}

fn has_plain_sources(projected: &Value) -> bool {
    let is_plain = |source: &Value| {
        source.as_object().is_some_and(|source| source.keys().all(|kind| PROJECTED.contains(&kind.as_str())))
    };
    projected["sources"].as_array().is_some_and(|sources| sources.iter().all(is_plain))
}

fn named(path: &str) -> &str {
    if path.is_empty() { "it" } else { path }
}

/// An overlay must be a pod template, with each field that it has: a field that Kubernetes doesn't know would go
/// unseen.
fn check_shape(overlay: &Value) -> Result<(), PodError> {
    let template: PodTemplateSpec = serde_json::from_value(overlay.clone()).map_err(|error| shape(&error))?;
    for volume in template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        if volume.name.is_empty() {
            return Err(PodError::OverlayShape { why: "each entry of spec.volumes must have a name".into() });
        }
    }
    let known = serde_json::to_value(&template).expect("a pod template is JSON");
    match lost(overlay, &known, "") {
        Some(path) => Err(PodError::OverlayShape { why: format!("Kubernetes has no field {path}") }),
        None => Ok(()),
    }
}

/// The first path of `said` that isn't in `known`.
fn lost(said: &Value, known: &Value, path: &str) -> Option<String> {
    match (said, known) {
        (Value::Object(said), Value::Object(known)) => said.iter().find_map(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match known.get(name) {
                Some(known) => lost(value, known, &path),
                None => Some(path),
            }
        }),
        (Value::Array(said), Value::Array(known)) => {
            let mut both = said.iter().zip(known).enumerate();
            both.find_map(|(index, (said, known))| lost(said, known, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

fn shape(error: &serde_json::Error) -> PodError {
    PodError::OverlayShape { why: error.to_string() }
}

/// Lays `over` on `base`, which is the field `name`: objects field by field, lists with a key entry by entry.
fn merge(base: &mut Value, over: &Value, name: &str) {
    match (base, over, key_of(name)) {
        (Value::Object(base), Value::Object(over), _) => {
            for (name, over) in over {
                match base.get_mut(name) {
                    Some(base) => merge(base, over, name),
                    None => drop(base.insert(name.clone(), over.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(over), Some(key)) => {
            for over in over {
                match base.iter_mut().find(|base| base[key] == over[key]) {
                    Some(base) => merge(base, over, ""),
                    None => base.push(over.clone()),
                }
            }
        }
        (base, over, _) => *base = over.clone(),
    }
}

/// The field by which Kubernetes joins the entries of a list.
fn key_of(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "volumes" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeDevices" => Some("devicePath"),
        _ => None,
    }
}

/// `merged` with all that the list allows as it is in `ours`, field by field.
fn without_what_is_allowed(merged: &PodTemplateSpec, ours: &PodTemplateSpec) -> PodTemplateSpec {
    let mut back = merged.clone();
    if let (Some(back), Some(ours)) = (&mut back.metadata, &ours.metadata) {
        for (back, ours) in [(&mut back.labels, &ours.labels), (&mut back.annotations, &ours.annotations)] {
            if let Some(map) = back {
                map.retain(|key, _| is_taken(key) || ours.as_ref().is_some_and(|ours| ours.contains_key(key)));
            }
            if ours.is_none() && *back == Some(BTreeMap::new()) {
                *back = None;
            }
        }
    }
    if let (Some(back), Some(ours)) = (&mut back.spec, &ours.spec) {
        take_back_in_pod(back, ours);
    }
    back
}

fn take_back_in_pod(back: &mut PodSpec, ours: &PodSpec) {
    back.topology_spread_constraints.clone_from(&ours.topology_spread_constraints);
    back.preemption_policy.clone_from(&ours.preemption_policy);
    back.readiness_gates.clone_from(&ours.readiness_gates);
    back.scheduling_gates.clone_from(&ours.scheduling_gates);
    if back.host_users == Some(false) {
        back.host_users = ours.host_users;
    }
    if let (Some(back), Some(ours)) = (&mut back.security_context, &ours.security_context) {
        back.fs_group_change_policy.clone_from(&ours.fs_group_change_policy);
        back.supplemental_groups_policy.clone_from(&ours.supplemental_groups_policy);
        if let Some(options) = &mut back.se_linux_options {
            options.level = ours.se_linux_options.as_ref().and_then(|ours| ours.level.clone());
        }
        if ours.se_linux_options.is_none() && back.se_linux_options == Some(SELinuxOptions::default()) {
            back.se_linux_options = None;
        }
    }
    // Ours come first; those of an overlay are new ones.
    let count = ours.volumes.as_ref().map_or(0, Vec::len);
    if let Some(volumes) = &mut back.volumes {
        let new = volumes.split_off(count.min(volumes.len()));
        volumes.extend(new.into_iter().filter(|volume| !is_of_an_allowed_kind(volume)));
    }
    for (back, ours) in back.containers.iter_mut().zip(&ours.containers) {
        if back.name == pod::USER {
            take_back_in_container(back, ours);
        }
    }
}

fn is_of_an_allowed_kind(volume: &Volume) -> bool {
    let Volume { name, csi, ephemeral, image, downward_api, projected, .. } = volume.clone();
    *volume == Volume { name, csi, ephemeral, image, downward_api, projected, ..Volume::default() }
}

fn take_back_in_container(back: &mut Container, ours: &Container) {
    back.volume_devices.clone_from(&ours.volume_devices);
    back.image_pull_policy.clone_from(&ours.image_pull_policy);
    back.resize_policy.clone_from(&ours.resize_policy);
    if back.ports.iter().flatten().all(|port| port.host_port.is_none() && port.host_ip.is_none()) {
        back.ports.clone_from(&ours.ports);
    }
    if let (Some(back), Some(ours)) = (&mut back.security_context, &ours.security_context) {
        back.seccomp_profile.clone_from(&ours.seccomp_profile);
        back.app_armor_profile.clone_from(&ours.app_armor_profile);
    }
}

#[cfg(test)]
mod tests;
