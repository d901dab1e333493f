//! Strangers in one cluster: who may only create Pipelines and Commits tries every way that there is to what is not
//! theirs, the store's Secret, another namespace's Repo, the keeper, the host. All is refused, in words that are read
//! here, at one of three doors: the API server (roles, schema, policies), the operator, the pod that fetches.

mod tries;
mod ways;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::wait::{PODS, SOON};
use varve_e2e::{Space, busybox, env, lay_over, object, store};

use tries::Tries;
use ways::{
    by_imports, by_overlays, by_pods, commit, only, pipeline, pipelines_and_commits, put, to_a_neighbour,
    ways_to_a_secret,
};

#[tokio::test]
async fn who_may_not_make_pods_gets_at_no_secret_and_no_identity_by_a_pipeline() -> Result<()> {
    let space = Space::new("strangers").await?;
    let ann = space.as_user("ann", pipelines_and_commits()).await?;
    let mut tries = Tries::default();
    for secret in ["varve-store", "another"] {
        for (field, change) in ways_to_a_secret(secret) {
            let asked = pipeline("p", |spec| lay_over(spec, &change))?;
            tries.apply(&ann, &format!("{field} names Secret {secret}"), &asked, &only(field)).await;
        }
    }
    let claim = json!({ "pod": { "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] } });
    let claim = pipeline("p", |spec| lay_over(spec, &claim))?;
    tries.apply(&ann, "a claim", &claim, "pod.volumes may name a PersistentVolumeClaim only if you").await;
    let account = pipeline("p", |spec| lay_over(spec, &json!({ "pod": { "serviceAccountName": "default" } })))?;
    tries.apply(&ann, "an identity", &account, &only("pod.serviceAccountName")).await;
    let overlay = json!({ "metadata": { "labels": { "team": "optics" } } });
    let overlay = pipeline("p", |spec| spec["pod"] = json!({ "overlay": overlay }))?;
    tries.apply(&ann, "an overlay", &overlay, &only("pod.overlay")).await;
    tries.end()?;

    // Nothing of this is refused to those who could make such pods themselves.
    let mut rules = pipelines_and_commits();
    let pods = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["create"] });
    rules.as_array_mut().context("rules")?.push(pods);
    let ed = space.as_user("ed", rules).await?;
    for object in [claim, account, overlay] {
        ed.try_apply(&object).await?;
    }
    for (_, change) in ways_to_a_secret("another") {
        ed.try_apply(&pipeline("p", |spec| lay_over(spec, &change))?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pipeline_with_a_secret_runs_what_its_author_gave_it_and_nothing_else() -> Result<()> {
    let space = Space::new("borrowed").await?;
    let ann = space.as_user("ann", pipelines_and_commits()).await?;
    let with_secret = |image: &str, change: Value| {
        pipeline("p", |spec| {
            lay_over(spec, &ways_to_a_secret("another")[0].1);
            spec["container"]["image"] = image.into();
            spec["suspend"] = true.into();
            lay_over(spec, &change);
        })
    };
    let image = busybox("1")?;
    space.apply(&with_secret(&image, json!({}))?).await?;
    let mut tries = Tries::default();
    let wanted = only("container.env");
    let cases = [
        ("another image", with_secret("registry.example/evil:1", json!({}))?),
        ("another command", with_secret(&image, json!({ "container": { "command": ["env"] } }))?),
        (
            "scripts of their own",
            with_secret(&image, json!({ "inputs": [{ "name": "APP_HOME", "repo": "r", "glob": "/" }] }))?,
        ),
        ("a volume more", with_secret(&image, json!({ "pod": { "volumes": [{ "name": "v", "emptyDir": {} }] } }))?),
    ];
    for (what, object) in cases {
        tries.apply(&ann, what, &object, &wanted).await;
    }
    tries.end()?;
    // How it is run may change, by anybody who may change Pipelines.
    ann.try_apply(&with_secret(&image, json!({ "parallelism": 2, "timeoutSeconds": 60 }))?).await?;
    Ok(())
}

#[tokio::test]
async fn no_field_of_a_pipeline_or_commit_leads_to_the_host_the_keeper_or_another_namespace() -> Result<()> {
    let space = Space::new("fields").await?;
    let ann = space.as_user("ann", pipelines_and_commits()).await?;
    let mut tries = Tries::default();
    let undeclared = "field not declared in schema";
    for field in [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "hostUsers",
        "shareProcessNamespace",
        "automountServiceAccountToken",
        "initContainers",
        "containers",
        "ephemeralContainers",
        "nodeName",
        "dnsConfig",
        "dnsPolicy",
        "hostAliases",
    ] {
        let asked = pipeline("p", |spec| spec["pod"] = json!({ field: true }))?;
        tries.apply(&ann, &format!("pod.{field}"), &asked, &format!("{field}: {undeclared}")).await;
    }
    for field in ["volumeDevices", "lifecycle", "ports", "livenessProbe", "restartPolicy", "imagePullPolicy", "stdin"] {
        let asked = pipeline("p", |spec| spec["container"][field] = json!([]))?;
        tries.apply(&ann, &format!("container.{field}"), &asked, &format!("{field}: {undeclared}")).await;
    }
    for field in ["privileged", "allowPrivilegeEscalation", "capabilities", "procMount", "seccompProfile"] {
        let asked = pipeline("p", |spec| spec["container"]["securityContext"] = json!({ field: true }))?;
        tries.apply(&ann, &format!("securityContext.{field}"), &asked, &format!("{field}: {undeclared}")).await;
    }
    let root = pipeline("p", |spec| spec["container"]["securityContext"] = json!({ "runAsUser": 0 }))?;
    tries.apply(&ann, "root", &root, "runAsUser may be 0, root, only if you may create pods").await;
    let volumes = [
        ("hostPath", json!({ "path": "/" })),
        ("projected", json!({ "sources": [{ "serviceAccountToken": { "path": "token" } }] })),
        ("csi", json!({ "driver": "d", "nodePublishSecretRef": { "name": "varve-store" } })),
        ("nfs", json!({ "server": "s", "path": "/" })),
        ("downwardAPI", json!({})),
    ];
    for (kind, source) in volumes {
        let asked = pipeline("p", |spec| spec["pod"] = json!({ "volumes": [{ "name": "v", kind: source }] }))?;
        tries.apply(&ann, &format!("a volume {kind}"), &asked, &format!("{kind}: {undeclared}")).await;
    }
    for name in ["varve", "varve-store", "varve-tmp"] {
        let asked = pipeline("p", |spec| spec["pod"] = json!({ "volumes": [{ "name": name, "emptyDir": {} }] }))?;
        tries.apply(&ann, &format!("a volume called {name}"), &asked, "are taken by Varve's own volumes").await;
    }
    for path in ["/pfs", "/pfs/out", "/pfs/r", "/.varve", "/.varve/varve-shim"] {
        let mount = json!([{ "name": "v", "mountPath": path }]);
        let asked = pipeline("p", |spec| spec["container"]["volumeMounts"] = mount)?;
        tries.apply(&ann, &format!("a mount at {path}"), &asked, "may not be /pfs or /.varve or lie in them").await;
    }
    for variable in ["VARVE_PLAN", "VARVE_JOB_UID", "PACH_JOB_ID", "r_COMMIT"] {
        let asked = pipeline("p", |spec| spec["container"]["env"] = json!([{ "name": variable, "value": "x" }]))?;
        tries.apply(&ann, &format!("the variable {variable}"), &asked, "which Varve sets itself").await;
    }

    let name = "must be the name of an object";
    let input = pipeline("p", |spec| spec["inputs"] = json!([{ "name": "r", "repo": "other/r", "glob": "/" }]))?;
    tries.apply(&ann, "another namespace's Repo as input", &input, name).await;
    let output = pipeline("p", |spec| spec["output"] = json!({ "repo": "other/r" }))?;
    tries.apply(&ann, "another namespace's Repo as output", &output, name).await;
    let copy = json!({ "copy": { "path": "/stolen", "from": { "repo": "other/r", "path": "/" } } });
    tries.apply(&ann, "a copy from another namespace's Repo", &commit("c", &copy), name).await;
    let other = object("Commit", "c", json!({ "repo": "other/r", "changes": [{ "delete": { "path": "/a" } }] }));
    tries.apply(&ann, "a Commit to another namespace's Repo", &other, name).await;
    for url in ["file:///etc/passwd", "ftp://host/x"] {
        let of_url = commit("c", &put(json!({ "url": url })));
        tries.apply(&ann, &format!("url {url}"), &of_url, "url must begin with https:// or http://").await;
        let of_store = commit("c", &put(json!({ "objectStore": { "url": url } })));
        tries.apply(&ann, &format!("objectStore {url}"), &of_store, "url must begin with s3://, gs:// or az://").await;
    }
    for path in ["/../etc/passwd", "/a/../../b", "etc"] {
        let asked = commit("c", &json!({ "put": { "path": path, "text": "x" } }));
        tries.apply(&ann, &format!("a put at {path}"), &asked, "path ").await;
    }
    tries.end()
}

#[tokio::test]
async fn jobs_labels_and_statuses_are_the_operators_alone() -> Result<()> {
    let space = Space::new("by-hand").await?;
    let ann = space.as_user("ann", pipelines_and_commits()).await?;
    let mut tries = Tries::default();
    let job = object(
        "Job",
        "by-hand",
        json!({
            "pipeline": "p",
            "inputs": [{ "name": "r", "repo": "r", "branch": "main", "commit": "0192f0c1-2345-7abc-8def-0123456789ab" }],
            "snapshot": {
                "uid": "0192f0c1-2345-7abc-8def-0123456789ab", "generation": 1, "image": { "reference": "i" },
                "spec": { "inputs": [{ "name": "r", "glob": "/" }], "container": { "image": "i" } },
            },
        }),
    );
    let made = ann.api::<Job>().create(&PostParams::default(), &serde_json::from_value(job.clone())?).await;
    tries.answered("a Job by hand", made, "cannot create resource \"jobs\"");
    let mut rules = pipelines_and_commits();
    let jobs = json!({ "apiGroups": ["varve.dev"], "resources": ["jobs"], "verbs": ["create", "update", "patch"] });
    rules.as_array_mut().context("rules")?.push(jobs);
    let bob = space.as_user("bob", rules).await?;
    let alone = "Jobs are made by Varve alone";
    tries.apply(&bob, "a Job by hand, by who may make Jobs", &job, alone).await;
    let labelled = |value: Value| {
        let mut commit = commit("labelled", &put(json!({ "text": "x" })));
        commit["metadata"]["labels"] = value;
        commit
    };
    let made = labelled(json!({ "varve.dev/job": "j", "app.kubernetes.io/managed-by": "varve" }));
    let label = "the label varve.dev/job of a Commit is Varve's alone";
    tries.apply(&ann, "a Commit as if a Job had made it", &made, label).await;
    space.apply(&labelled(json!({ "mine": "x" }))).await?;
    tries.apply(&ann, "that label later", &made, label).await;

    space.apply(&object("Repo", "r", json!({}))).await?;
    space.apply(&pipeline("p", |spec| spec["suspend"] = true.into())?).await?;
    let status = Patch::Merge(json!({ "status": { "observedGeneration": 7 } }));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let forbidden = "cannot patch resource";
    let answers = [
        ("a Repo's status", ann.api::<Repo>().patch_status("r", &params, &status).await.map(drop)),
        ("a Commit's status", ann.api::<Commit>().patch_status("labelled", &params, &status).await.map(drop)),
        ("a Pipeline's status", ann.api::<Pipeline>().patch_status("p", &params, &status).await.map(drop)),
        ("a Job's status", ann.api::<Job>().patch_status("j", &params, &status).await.map(drop)),
        (
            "a Repo's spec",
            ann.api::<Repo>()
                .patch("r", &params, &Patch::Merge(json!({ "spec": { "description": "x" } })))
                .await
                .map(drop),
        ),
    ];
    for (what, answer) in answers {
        tries.answered(what, answer, forbidden);
    }
    let repo = ann.api::<Repo>().delete("r", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await;
    tries.answered("a Repo and its data", repo, "cannot delete resource");
    let secret = ann.api::<Secret>().get("varve-store").await;
    tries.answered("the Secret itself", secret, "cannot get resource");
    let pods = ann.api::<Pod>().list(&ListParams::default()).await;
    tries.answered("pods", pods, "cannot list resource");
    let elsewhere = Space::new("elsewhere").await?;
    let repos = kube::Api::<Repo>::namespaced(ann.client(), &elsewhere.name).list(&ListParams::default()).await;
    tries.answered("another namespace", repos, "cannot list resource");
    tries.end()
}

/// What the API server can't know is refused by the operator or the pod that fetches; the author here may do all that
/// an editor of the namespace may.
#[tokio::test]
async fn what_the_api_server_lets_pass_the_operator_refuses() -> Result<()> {
    let space = Space::new("second-lock").await?;
    let other = Space::new("neighbour").await?;
    for space in [&space, &other] {
        space.with_store().await?;
    }
    for (space, repo) in [(&space, "r"), (&other, "theirs")] {
        space.apply(&object("Repo", repo, json!({}))).await?;
        space.ready::<Repo>(repo, SOON).await?;
    }
    let theirs = object("Commit", "secret", json!({ "repo": "theirs", "changes": [put(json!({ "text": "theirs" }))] }));
    other.apply(&theirs).await?;
    let theirs = other.ready::<Commit>("secret", SOON).await?;
    let their_uid = theirs.status.and_then(|status| status.uid).context("a uid")?;

    let bucket = format!("s3://{}/{}/v1/store.json", env("VARVE_S3_BUCKET")?, other.name);
    let ways = [by_pods()?, by_overlays()?, to_a_neighbour(&their_uid)?, by_imports(&bucket)].concat();
    let mut tries = Tries::default();
    for (index, mut way) in ways.into_iter().enumerate() {
        let name = format!("x{index}");
        way.object["metadata"]["name"] = name.clone().into();
        space.apply(&way.object).await?;
        let (reason, message) = match way.object["kind"].as_str() {
            Some("Pipeline") => space.stalled::<Pipeline>(&name, SOON).await?,
            _ => space.stalled::<Commit>(&name, PODS).await?,
        };
        tries.told(&way.what, &format!("{reason}: {message}"), &way.words);
        ensure!(reason == way.reason, "{}: {reason} instead of {}: {message}", way.what, way.reason);
    }
    tries.end()?;
    let pods = space.api::<Pod>().list(&ListParams::default().labels(varve_api::labels::PIPELINE)).await?;
    let names: Vec<String> = pods.items.iter().map(ResourceExt::name_any).collect();
    assert!(names.is_empty(), "pods were made: {names:?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_reads_no_store_but_its_own() -> Result<()> {
    let first = Space::new("landlord").await?;
    first.with_store().await?;
    first.apply(&object("Repo", "r", json!({}))).await?;
    first.ready::<Repo>("r", SOON).await?;
    // Even with the right credentials: the prefix belongs to the namespace that came first.
    let second = Space::new("lodger").await?;
    second.store_secret(&store::config(&store::url(&first.name)?)?).await?;
    second.apply(&object("Repo", "r", json!({}))).await?;
    let (reason, message) = second.stalled::<Repo>("r", SOON).await?;
    assert_eq!(reason, "StoreOwnedElsewhere", "{message}");
    Ok(())
}
