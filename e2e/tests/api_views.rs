//! What people and tools see of the API: tables, explanations, short names, scale, apply without a diff.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use varve_e2e::Space;

const MANIFEST: &str = r"
apiVersion: varve.dev/v1alpha1
kind: Repo
metadata: {name: images}
spec:
  description: photographs
  branches: [{name: stable, head: main}, {name: dev, head: images-first}]
---
apiVersion: varve.dev/v1alpha1
kind: Commit
metadata: {name: images-first}
spec:
  repo: images
  message: first
  changes:
    - put: {path: /readme.txt, text: as they came}
    - delete: {path: /scratch/**}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: totals}
spec:
  inputs:
    - {name: both, cross: [stores, sales]}
    - {name: stores, glob: /*}
    - {name: sales, repo: purchases, glob: /**}
  container:
    image: registry.example/totals:1
    command: [python3, /totals.py]
    env: [{name: A, value: b}]
    resources: {limits: {nvidia.com/gpu: 1, memory: 1Gi, cpu: 500m}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  pod:
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
    volumes: [{name: scratch, emptyDir: {sizeLimit: 1Gi}}]
  suspend: true
  parallelism: 4
";

/// A namespace that holds [`MANIFEST`].
async fn space(purpose: &str) -> Result<Space> {
    let space = Space::new(purpose).await?;
    space.kubectl_with(&["apply", "--server-side", "-f", "-"], MANIFEST)?;
    Ok(space)
}

#[tokio::test]
async fn applying_twice_changes_nothing() -> Result<()> {
    let space = space("twice").await?;
    let spec = |name: &str| space.kubectl(&["get", name, "-o", "jsonpath={.metadata.generation} {.spec}"]);
    for name in ["vrepo/images", "vcommit/images-first", "vpipe/totals"] {
        let before = spec(name)?;
        let diff = space.kubectl_with(&["diff", "--server-side", "-f", "-"], MANIFEST)?;
        assert_eq!(diff, "", "{name}");
        space.kubectl_with(&["apply", "--server-side", "-f", "-"], MANIFEST)?;
        assert_eq!(spec(name)?, before, "{name}");
    }
    // The same by client-side apply, as many still do: from nothing, and again.
    let old = Space::new("client-side").await?;
    old.kubectl_with(&["apply", "-f", "-"], MANIFEST)?;
    let again = old.kubectl_with(&["apply", "-f", "-"], MANIFEST)?;
    assert_eq!(again.lines().filter(|line| line.ends_with(" unchanged")).count(), 3, "{again}");
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_has_a_default() -> Result<()> {
    let space = Space::new("defaults").await?;
    let get =
        |name: &str| -> Result<Value> { Ok(serde_json::from_str(&space.kubectl(&["get", name, "-o", "json"])?)?) };
    space.apply(&json!({ "apiVersion": varve_api::API_VERSION, "kind": "Repo", "metadata": { "name": "r" } })).await?;
    assert_eq!(
        get("vrepo/r")?["spec"],
        json!({ "deletionPolicy": "Retain", "historyLimit": 100, "storeRef": { "name": "varve-store" } })
    );

    let pipeline = json!({
        "apiVersion": varve_api::API_VERSION, "kind": "Pipeline", "metadata": { "name": "p" },
        "spec": { "inputs": [{ "name": "a", "glob": "/" }, { "name": "b", "cross": ["a"] }], "container": { "image": "i:1" } },
    });
    let created = space.try_apply(&pipeline).await?;
    assert_eq!(
        created.data["spec"],
        json!({
            // Nothing of one arm of the union is stamped on the other.
            "inputs": [{ "name": "a", "glob": "/" }, { "name": "b", "cross": ["a"] }],
            "container": { "image": "i:1" }, "parallelism": 1, "datum": { "tries": 3, "limit": 10_000_000 },
            "suspend": false, "historyLimit": 20,
        })
    );
    // Until the operator has looked at it, no tool takes it for ready.
    assert_eq!(created.data["status"], json!({ "observedGeneration": -1 }));
    Ok(())
}

#[tokio::test]
async fn tables_answer_is_it_fine_how_much_and_how_old() -> Result<()> {
    let space = space("tables").await?;
    let columns = |args: &[&str]| -> Result<Vec<String>> {
        let table = space.kubectl(args)?;
        Ok(table.lines().next().context("a table")?.split_whitespace().map(str::to_owned).collect())
    };
    assert_eq!(columns(&["get", "vrepo"])?, ["NAME", "READY", "STATUS", "BRANCH", "FILES", "SIZE", "UPDATED", "AGE"]);
    assert_eq!(
        columns(&["get", "vcommit"])?,
        ["NAME", "REPO", "BRANCH", "READY", "STATUS", "ADDED", "CHANGED", "REMOVED", "FILES", "SIZE", "AGE"]
    );
    assert_eq!(
        columns(&["get", "vpipe"])?,
        ["NAME", "READY", "STATUS", "JOB", "RESULT", "DATUMS", "SHARDS", "UPDATED", "AGE"]
    );
    assert!(columns(&["get", "vpipe", "-o", "wide"])?.contains(&"EXPLANATION".to_owned()));
    let all = space.kubectl(&["get", "varve", "-o", "name"])?;
    for name in ["repo.varve.dev/images", "commit.varve.dev/images-first", "pipeline.varve.dev/totals"] {
        assert!(all.contains(name), "{all}");
    }
    Ok(())
}

#[tokio::test]
async fn objects_are_found_by_what_they_belong_to() -> Result<()> {
    let space = space("fields").await?;
    for (kind, selector, found) in [
        ("vcommit", "spec.repo=images", "commit.varve.dev/images-first\n"),
        ("vcommit", "spec.repo=other", ""),
        ("vcommit", "spec.branch=main", "commit.varve.dev/images-first\n"),
        ("vjob", "spec.pipeline=totals", ""),
        ("vrepo", "spec.storeRef.name=varve-store", "repo.varve.dev/images\n"),
    ] {
        assert_eq!(
            space.kubectl(&["get", kind, "--field-selector", selector, "-o", "name"])?,
            found,
            "{kind} {selector}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_pipeline_is_scaled_like_a_deployment() -> Result<()> {
    let space = space("scale").await?;
    space.kubectl(&["scale", "vpipe/totals", "--replicas=7"])?;
    assert_eq!(space.kubectl(&["get", "vpipe/totals", "-o", "jsonpath={.spec.parallelism}"])?, "7");
    let refused =
        space.kubectl(&["scale", "vpipe/totals", "--replicas=0"]).expect_err("no Pipeline has no pods").to_string();
    assert!(refused.contains("should be greater than or equal to 1"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn explain_tells_what_every_field_is() -> Result<()> {
    let space = Space::new("explain").await?;
    for (field, says) in [
        ("vrepo", "A Repo is a named collection of files with branches"),
        ("vrepo.spec.deletionPolicy", "`Retain` keeps it"),
        ("vcommit.spec.changes.put", "Writes a file, or the files below a path"),
        ("vrepo.spec.branches", "Branches whose head is pinned"),
        ("vpipe.spec.inputs.glob", "`/**` each file at any depth"),
        ("vpipe.spec.container.resources", "CPU, memory and devices"),
        ("vjob.status.firstFailures.lastLines", "The last lines that the code printed"),
    ] {
        let (kind, rest) = field.split_once('.').map_or((field, String::new()), |(k, r)| (k, format!(".{r}")));
        let text = space.kubectl(&["explain", &format!("{kind}{rest}")])?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "{field}: {text}");
    }
    Ok(())
}
