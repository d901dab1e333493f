//! Varve on a cluster: CRDs and the operator, as `manifests/` says, with the image that was just built.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Access;
use crate::{images::Images, kubectl, run};

/// Where the operator lives.
pub(crate) const SYSTEM: &str = "varve-system";
const OPERATOR: &str = "deployment/varve";

/// Applies CRDs and operator, and waits until the operator runs.
pub(crate) fn varve(access: &Access, images: &Images) -> Result<()> {
    let overlay = run::root().join("out/install");
    fs::create_dir_all(&overlay)?;
    fs::write(overlay.join("kustomization.yaml"), kustomization(&images.varve, access.registry()?)?)?;
    let overlay = overlay.to_str().context("the repository's path is not UTF-8")?;
    access.ask(&["apply", "--server-side", "--force-conflicts", "-k", overlay])?;
    access.ask(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=30s"])?;
    access.show(&["-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s"]).with_context(|| explain(access))
}

/// What somebody writes who installs Varve from an image and registry of their own; README shows it too.
fn kustomization(image: &str, registry: &str) -> Result<String> {
    ensure!(image.contains('@'), "the image must be named by digest, not {image}");
    Ok(format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../manifests]
patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: varve, namespace: {SYSTEM}}}
      spec:
        template:
          spec:
            containers:
              - name: controller
                image: \"{image}\"
                env:
                  - {{name: VARVE_IMAGE, value: \"{image}\"}}
                  - {{name: VARVE_INSECURE_REGISTRIES, value: \"{registry}\"}}
"
    ))
}

/// What the operator's pods say, for an error.
fn explain(access: &Access) -> String {
    let pods = access.ask(&["-n", SYSTEM, "get", "pods", "-o", "wide"]).unwrap_or_default();
    let logs = access.ask(&["-n", SYSTEM, "logs", OPERATOR, "--tail=20"]).unwrap_or_default();
    format!("the operator does not come up\n{pods}{logs}")
}

/// A namespace under the pod security standard `restricted` and the store's Secret.
pub(crate) fn namespace(access: &Access, name: &str) -> Result<()> {
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}\n"
    );
    access.apply(&[], &namespace)?;
    // The namespace's own ServiceAccount comes a moment later, and pods need it.
    kubectl::wait("the namespace's ServiceAccount", Duration::from_secs(20), || {
        let accounts = access.get_json(&["serviceaccounts", "-n", name])?;
        let is_there = accounts["items"].as_array().is_some_and(|items| !items.is_empty());
        Ok(if is_there { Ok(()) } else { Err("none yet".into()) })
    })?;
    // A prefix belongs to one namespace for good: one deleted and made anew begins with an empty store.
    let namespace = access.get_json(&["namespace", name])?;
    let uid = namespace["metadata"]["uid"].as_str().context("the namespace has no uid")?;
    let prefix = format!("{name}-{}", uid.split('-').next().unwrap_or_default());
    access.apply(&[], &access.store_secret(name, &prefix)?).map(drop)
}
