//! Which credentials to try at a registry: those of the pull secrets, found as the kubelet finds them.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use oci_client::{Reference, secrets::RegistryAuth};
use serde::Deserialize;

use super::ImageQuery;
use crate::error::{Error, Result};

/// The credentials to try, in order: those that pull secrets hold for this registry, then none.
pub(super) async fn find(client: &Client, query: &ImageQuery<'_>, reference: &Reference) -> Result<Vec<RegistryAuth>> {
    let mut names: Vec<String> = query.pull_secrets.clone();
    let account = query.service_account.unwrap_or("default");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), query.namespace);
    let found = accounts.get_opt(account).await.map_err(Error::api(format_args!("get ServiceAccount {account}")))?;
    names.extend(
        found.and_then(|found| found.image_pull_secrets).unwrap_or_default().into_iter().map(|secret| secret.name),
    );
    let secrets: Api<Secret> = Api::namespaced(client.clone(), query.namespace);
    let mut found = Vec::new();
    for name in names {
        // The kubelet passes over a pull secret that is not there; so do we.
        let secret = secrets.get_opt(&name).await.map_err(Error::api(format_args!("get Secret {name}")))?;
        let Some(secret) = secret else { continue };
        found.extend(credentials_in(&secret, reference));
    }
    found.push(RegistryAuth::Anonymous);
    Ok(found)
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

/// What a pull secret holds for the registry of `reference`, the longest matching entry first.
fn credentials_in(secret: &Secret, reference: &Reference) -> Vec<RegistryAuth> {
    let data = secret.data.iter().flatten();
    let mut found: Vec<(usize, RegistryAuth)> = Vec::new();
    for (key, value) in data {
        let auths = match key.as_str() {
            ".dockerconfigjson" => {
                serde_json::from_slice::<DockerConfig>(&value.0).map(|config| config.auths).unwrap_or_default()
            }
            ".dockercfg" => serde_json::from_slice(&value.0).unwrap_or_default(),
            _ => continue,
        };
        for (server, auth) in auths {
            if let (true, Some(basic)) = (is_for(&server, reference), basic(&auth)) {
                found.push((server.len(), basic));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// Whether an entry of a docker config (`https://index.docker.io/v1/`, `host:5000`, `host/path`) is for
/// this image.
fn is_for(server: &str, reference: &Reference) -> bool {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_start_matches("v1").trim_start_matches("v2").trim_matches('/');
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let is_host = host == reference.registry() || hub.contains(&host) && hub.contains(&reference.registry());
    let repository = reference.repository();
    let is_path =
        path.is_empty() || repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_host && is_path
}

fn basic(auth: &DockerAuth) -> Option<RegistryAuth> {
    if let (Some(user), Some(password)) = (&auth.username, &auth.password) {
        return Some(RegistryAuth::Basic(user.clone(), password.clone()));
    }
    let decoded = BASE64.decode(auth.auth.as_ref()?.trim().as_bytes()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic(user.into(), password.into()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn pull_secret(json: &str) -> Secret {
        Secret { data: Some([(".dockerconfigjson".into(), ByteString(json.into()))].into()), ..Secret::default() }
    }

    #[test]
    fn a_pull_secret_serves_its_own_registry_alone() {
        let secret = pull_secret(
            r#"{"auths": {"https://one.example:5000/v2/": {"auth": "YW5uOnNlY3JldA=="},
                          "two.example/team": {"username": "bob", "password": "pw"}}}"#,
        );
        assert_eq!(
            credentials_in(&secret, &reference("one.example:5000/a/b:1")),
            [RegistryAuth::Basic("ann".into(), "secret".into())]
        );
        assert_eq!(
            credentials_in(&secret, &reference("two.example/team/x:1")),
            [RegistryAuth::Basic("bob".into(), "pw".into())]
        );
        assert_eq!(credentials_in(&secret, &reference("two.example/teamwork/x:1")), []);
        assert_eq!(credentials_in(&secret, &reference("three.example/x:1")), []);
    }

    #[test]
    fn docker_hub_goes_by_several_names() {
        assert!(is_for("https://index.docker.io/v1/", &reference("python:3")));
    }
}
