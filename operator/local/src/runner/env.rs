//! A container's variables, as the kubelet resolves them: `envFrom`, then `env`, each with `$(NAME)` of those before.
//! Pure: the Secrets and `ConfigMap`s that [`sources`] names are passed in.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

/// A Secret or a `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// `Secret` of this name.
    Secret(String),
    /// `ConfigMap` of this name.
    ConfigMap(String),
}

impl Source {
    /// As the kubelet calls its kind in messages.
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Secret(_) => ("secret", "Secret"),
            Self::ConfigMap(_) => ("configmap", "ConfigMap"),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Secret(name) | Self::ConfigMap(name) => name,
        }
    }

    /// The kubelet's words where it isn't there.
    pub(crate) fn missing(&self) -> String {
        format!("{} \"{}\" not found", self.kind().0, self.name())
    }
}

/// What those hold that are there.
pub(crate) type Contents = BTreeMap<Source, BTreeMap<String, Vec<u8>>>;

/// The Secrets and `ConfigMap`s that a container's variables come from.
pub(crate) fn sources(container: &Container) -> BTreeSet<Source> {
    let of_from = container.env_from.iter().flatten().filter_map(|from| {
        let secret = from.secret_ref.as_ref().map(|secret| Source::Secret(secret.name.clone()));
        secret.or_else(|| Some(Source::ConfigMap(from.config_map_ref.as_ref()?.name.clone())))
    });
    let of_env = container.env.iter().flatten().filter_map(|variable| key_of(variable.value_from.as_ref()?));
    of_from.chain(of_env.map(|(source, _, _)| source)).collect()
}

/// The source, key, and whether it may be missing.
fn key_of(from: &EnvVarSource) -> Option<(Source, &str, bool)> {
    if let Some(key) = &from.secret_key_ref {
        return Some((Source::Secret(key.name.clone()), &key.key, key.optional == Some(true)));
    }
    let key = from.config_map_key_ref.as_ref()?;
    Some((Source::ConfigMap(key.name.clone()), &key.key, key.optional == Some(true)))
}

/// The variables in the order in which they are set; the error has the kubelet's words.
pub(crate) fn resolve(pod: &Pod, container: &Container, contents: &Contents) -> Result<Vec<(String, String)>, String> {
    let mut variables = Variables::default();
    for from in container.env_from.iter().flatten() {
        let (source, is_optional) = match (&from.secret_ref, &from.config_map_ref) {
            (Some(secret), _) => (Source::Secret(secret.name.clone()), secret.optional),
            (None, Some(map)) => (Source::ConfigMap(map.name.clone()), map.optional),
            (None, None) => continue,
        };
        let Some(keys) = contents.get(&source) else {
            if is_optional == Some(true) {
                continue;
            }
            return Err(source.missing());
        };
        let prefix = from.prefix.as_deref().unwrap_or_default();
        for (key, value) in keys {
            variables.set(format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, variable, contents, &variables)? {
            variables.set(variable.name.clone(), value);
        }
    }
    Ok(variables.0)
}

#[derive(Debug, Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: String, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }
}

fn value(pod: &Pod, variable: &EnvVar, contents: &Contents, before: &Variables) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), &before.0)));
    };
    if let Some(field) = &from.field_ref {
        return field_of(pod, &field.field_path).map(Some);
    }
    let Some((source, key, is_optional)) = key_of(from) else {
        return Err(format!("variable {}: this source of a value is not known here", variable.name));
    };
    match contents.get(&source) {
        None if is_optional => Ok(None),
        None => Err(source.missing()),
        Some(keys) => match keys.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if is_optional => Ok(None),
            None => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                Err(format!("couldn't find key {key} in {} {namespace}/{}", source.kind().1, source.name()))
            }
        },
    }
}

fn field_of(pod: &Pod, path: &str) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let metadata = &pod.metadata;
    let keyed = |map: &Option<BTreeMap<String, String>>, rest: &str| {
        let key = rest.trim_start_matches("['").trim_end_matches("']");
        map.as_ref().and_then(|map| map.get(key).cloned())
    };
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).or_else(|| Some("default".to_owned()))
        }
        "status.hostIP" | "status.podIP" | "status.hostIPs" | "status.podIPs" => Some("127.0.0.1".to_owned()),
        _ => match (path.strip_prefix("metadata.labels"), path.strip_prefix("metadata.annotations")) {
            (Some(rest), _) => keyed(&metadata.labels, rest),
            (_, Some(rest)) => keyed(&metadata.annotations, rest),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        },
    };
    Ok(value.unwrap_or_default())
}

/// `$(NAME)` becomes the variable's value where there is one; `$$` is a `$`.
pub(crate) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.iter().find(|(known, _)| known == name) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "edges-2-abcde", "namespace": "lab", "uid": "u-7",
                "annotations": { "batch.kubernetes.io/job-completion-index": "2" }, "labels": { "team": "blue" } },
            "spec": { "nodeName": "laptop", "containers": [] },
        }))
        .unwrap()
    }

    fn container(env: &serde_json::Value, from: &serde_json::Value) -> Container {
        serde_json::from_value(json!({ "name": "user", "env": env, "envFrom": from })).unwrap()
    }

    fn contents() -> Contents {
        let keys = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
        };
        BTreeMap::from([
            (Source::Secret("db".into()), keys(&[("password", "p4ss"), ("user", "ada")])),
            (Source::ConfigMap("rates".into()), keys(&[("eur", "1.1")])),
        ])
    }

    #[test]
    fn variables_come_from_secrets_config_maps_fields_and_those_before_them() {
        let container = container(
            &json!([
                { "name": "EUR", "valueFrom": { "configMapKeyRef": { "name": "rates", "key": "eur" } } },
                { "name": "INDEX", "valueFrom": { "fieldRef":
                    { "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']" } } },
                { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                { "name": "URL", "value": "$(DB_user):$(DB_password)@$$(EUR)/$(NONE)" },
                { "name": "GONE", "valueFrom": { "secretKeyRef": { "name": "none", "key": "k", "optional": true } } },
            ]),
            &json!([{ "prefix": "DB_", "secretRef": { "name": "db" } }]),
        );
        let expected = [
            ("DB_password", "p4ss"),
            ("DB_user", "ada"),
            ("EUR", "1.1"),
            ("INDEX", "2"),
            ("NODE", "laptop"),
            ("URL", "ada:p4ss@$(EUR)/$(NONE)"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(resolve(&pod(), &container, &contents()), Ok(expected));
    }

    #[test]
    fn what_is_missing_is_told_in_the_kubelets_words() {
        let key = json!([{ "name": "X", "valueFrom": { "secretKeyRef": { "name": "db", "key": "port" } } }]);
        let missing = resolve(&pod(), &container(&key, &json!([])), &contents());
        assert_eq!(missing, Err("couldn't find key port in Secret lab/db".to_owned()));
        let from = json!([{ "configMapRef": { "name": "none" } }]);
        let missing = resolve(&pod(), &container(&json!([]), &from), &contents());
        assert_eq!(missing, Err("configmap \"none\" not found".to_owned()));
    }
}
