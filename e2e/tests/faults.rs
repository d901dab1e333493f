//! A Job that is disturbed ends with what it began with. Devices are scarce: who waits says so, and who is done lets go.
//! A namespace that is lost comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, until};
use varve_e2e::{Space, busybox, kill, object, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_that_is_edited_under_a_running_job_changes_the_next_job_alone() -> Result<()> {
    let space = Space::new("config").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    let map = |depth: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "depth": depth } });
    space.apply(&map("before")).await?;
    let code = format!(
        "fetch {0}/count/start; until fetch {0}/files/go >/dev/null 2>&1; do sleep 0.3; done; echo $DEPTH >/pfs/out/depth",
        host.url
    );
    let depth = json!({ "name": "DEPTH", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "depth" } } });
    let spec = json!({
        "inputs": [{ "name": "images", "glob": "/" }],
        "container": { "image": busybox("1")?, "command": ["sh", "-c", code], "env": [depth] },
    });
    space.apply(&object("Pipeline", "deep", spec)).await?;
    let input = json!({ "repo": "images", "changes": [{ "put": { "path": "/f", "text": "f" } }] });
    space.commit("one", input).await?;
    until("the code runs", PODS, async || Ok(host.counts().contains_key("start"))).await?;
    let jobs = async || Ok::<_, anyhow::Error>(space.api::<Job>().list(&ListParams::default()).await?.items);
    let first = jobs().await?.first().context("a Job")?.name_any();

    // Whoever comes after the edit, pod and operator, goes on with what the Job began with.
    space.apply(&map("after")).await?;
    kill::operator(&space.client()).await?;
    let pods = space.api::<Pod>();
    for pod in pods.list(&ListParams::default().labels("varve.dev/job")).await? {
        pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
    }
    host.serve("go", "go");
    space.ready::<Job>(&first, PODS * 2).await?;
    space.ready::<Commit>(&first, SOON).await?;
    assert_eq!(space.files_of(&first).await?["/depth"], "before\n");

    until("the edit has made a Job of its own", PODS, async || Ok(jobs().await?.len() == 2)).await?;
    let second = jobs().await?.iter().map(kube::ResourceExt::name_any).find(|name| *name != first).context("a Job")?;
    space.ready::<Job>(&second, PODS).await?;
    space.ready::<Commit>(&second, SOON).await?;
    assert_eq!(space.files_of(&second).await?["/depth"], "after\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_gpu_pods_the_fifth_waits_and_says_why_and_all_let_go_when_done() -> Result<()> {
    let space = Space::new("gpu").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    let changes: Vec<Value> =
        (0..5).map(|i| json!({ "put": { "path": format!("/f{i}"), "text": format!("file {i}\n") } })).collect();
    space.apply(&object("Commit", "five", json!({ "repo": "images", "changes": changes }))).await?;
    let code = format!(
        "until fetch {}/files/go >/dev/null 2>&1; do sleep 0.3; done; echo done >/pfs/out/$VARVE_DATUM_ID",
        host.url
    );
    let spec = json!({
        "inputs": [{ "name": "images", "glob": "/*" }], "parallelism": 5,
        "container": { "image": busybox("1")?, "command": ["sh", "-c", code], "resources": { "limits": { "nvidia.com/gpu": 1 } } },
    });
    space.apply(&object("Pipeline", "train", spec)).await?;
    let phases = async || -> Result<BTreeMap<String, usize>> {
        let mut phases = BTreeMap::new();
        for pod in space.api::<Pod>().list(&ListParams::default()).await?.items {
            *phases.entry(pod.status.and_then(|s| s.phase).unwrap_or_default()).or_default() += 1;
        }
        Ok(phases)
    };
    let wanted = BTreeMap::from([("Pending".to_owned(), 1), ("Running".to_owned(), 4)]);
    until("four run, the fifth waits", PODS, async || Ok(phases().await? == wanted)).await?;
    let job = space.api::<Job>().list(&ListParams::default()).await?.items.first().context("a Job")?.name_any();
    let explained = |job: &Job| {
        job.status.as_ref().and_then(|s| s.explanation.as_deref()).is_some_and(|e| e.contains("nvidia.com/gpu"))
    };
    space.wait::<Job>(&job, SOON, explained).await?;

    host.serve("go", "go");
    space.ready::<Job>(&job, PODS).await?;
    until("the GPUs are free", Duration::from_secs(30), async || {
        let phases = phases().await?;
        Ok(!phases.contains_key("Running") && !phases.contains_key("Pending"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_runs_out_of_memory_restarts_in_place_and_keeps_its_device() -> Result<()> {
    let space = Space::new("hungry").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    let changes: Vec<Value> =
        (0..5).map(|i| json!({ "put": { "path": format!("/f{i}"), "text": format!("file {i}\n") } })).collect();
    space.apply(&object("Commit", "five", json!({ "repo": "images", "changes": changes }))).await?;
    // With cgroup v2 the kernel kills all that is in the container. With v1 it chooses: by what a process uses itself,
    // which is little where the memory holds a file, and by its score, which anybody may raise.
    let code = format!(
        "f=$(echo /pfs/images/*); n=${{f##*/}}; fetch {}/count/$n/$NVIDIA_VISIBLE_DEVICES; \
         if [ $n = f2 ]; then echo 1000 >/proc/1/oom_score_adj; while :; do cat /dev/zero >>/scratch/much; done; fi; cat $f >/pfs/out/$n",
        host.url
    );
    let memory = json!({ "memory": "256Mi" });
    let spec = json!({
        "inputs": [{ "name": "images", "glob": "/*" }], "parallelism": 1, "datum": { "tries": 1 },
        "container": {
            "image": busybox("1")?, "command": ["sh", "-c", code],
            "resources": { "requests": memory, "limits": { "memory": "256Mi", "nvidia.com/gpu": 1 } },
            "volumeMounts": [{ "name": "scratch", "mountPath": "/scratch" }],
        },
        "pod": { "volumes": [{ "name": "scratch", "emptyDir": { "medium": "Memory" } }] },
    });
    space.apply(&object("Pipeline", "train", spec)).await?;
    let mut job = None;
    until("a Job has been made", PODS, async || {
        job = space.api::<Job>().list(&ListParams::default()).await?.items.first().map(kube::ResourceExt::name_any);
        Ok(job.is_some())
    })
    .await?;
    let job = job.context("a Job")?;

    let (reason, message) = space.stalled::<Job>(&job, PODS).await?;
    assert_eq!(reason, "DatumsFailed", "{message}");
    for words in ["1 of 5 datums failed", "/f2", "after 1 try", "256 MiB", "raise container.resources.limits.memory"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let counts = space.api::<Job>().get(&job).await?.status.and_then(|s| s.datums).context("counts")?;
    assert_eq!((counts.total, counts.processed, counts.failed), (5, 4, 1));

    let mut pods = Vec::new();
    until("the pod has ended well", SOON, async || {
        pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
        let phases = pods.iter().map(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()));
        Ok(phases.eq([Some("Succeeded")]))
    })
    .await?;
    let [pod] = pods.as_slice() else { anyhow::bail!("one pod did all the work, not {}", pods.len()) };
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.clone()).context("its containers")?;
    let restarts: BTreeMap<_, _> = statuses.iter().map(|one| (one.name.as_str(), one.restart_count)).collect();
    assert_eq!(restarts, BTreeMap::from([("keeper", 0), ("user", 1)]));
    let user = statuses.iter().find(|one| one.name == "user").context("the user's container")?;
    let killed = user.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(|state| state.exit_code);
    assert_eq!(killed, Some(137));
    let calls: Vec<String> = host.calls().into_iter().map(|call| call.what).collect();
    let device = calls.first().and_then(|call| call.split_once('/')).context("a datum and its device")?.1;
    assert!(device.starts_with("gpu-"), "{device}");
    let expected: Vec<String> = (0..5).map(|i| format!("f{i}/{device}")).collect();
    assert_eq!(calls, expected, "each ran once, with the same device");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_lost_comes_back_from_its_yaml_and_its_bucket() -> Result<()> {
    let space = Space::new("lost").await?;
    let host = Host::new().await?;
    let name = space.name.clone();
    let config = store::config(&store::url(&name)?)?;
    let yaml = [
        object("Repo", "images", json!({})),
        object("Commit", "first", json!({ "repo": "images", "changes": [{ "put": { "path": "/a", "text": "a\n" } }] })),
        object(
            "Commit",
            "second",
            json!({ "repo": "images", "changes": [{ "put": { "path": "/b", "text": "b\n" } }] }),
        ),
        object(
            "Pipeline",
            "copy",
            json!({
                "inputs": [{ "name": "images", "glob": "/*" }],
                "container": { "image": busybox("1")?, "command": ["sh", "-c", format!("for f in /pfs/images/*; do fetch {}/count/${{f##*/}} && cat $f >/pfs/out/${{f##*/}}; done", host.url)] },
            }),
        ),
    ];
    space.store_secret(&config).await?;
    for (i, object) in yaml.iter().enumerate() {
        space.apply(object).await?;
        if (1..=2).contains(&i) {
            space.ready::<Commit>(object["metadata"]["name"].as_str().unwrap_or_default(), SOON).await?;
        }
    }
    let heads = |repo: &Repo| {
        repo.status.as_ref().map(|s| (s.uid.clone(), s.store.clone(), s.branches.clone())).unwrap_or_default()
    };
    let both = |repo: &Repo| heads(repo).2.iter().any(|b| b.name == "main" && b.files == 2);
    let output = space.wait::<Repo>("copy", PODS, both).await?;
    let images: Repo = space.api().get("images").await?;
    let before = (heads(&images), heads(&output));
    let store_id = before.0.1.clone().context("the store's id")?;
    host.forget();

    let namespaces: Api<Namespace> = Api::all(space.client());
    namespaces.delete(&name, &DeleteParams::default()).await?;
    until("the namespace is gone", PODS, async || Ok(namespaces.get_opt(&name).await?.is_none())).await?;
    let again: Namespace =
        serde_json::from_value(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
    namespaces.create(&kube::api::PostParams::default(), &again).await?;

    let mut config = config;
    space.store_secret(&config).await?;
    space.apply(&yaml[0]).await?;
    let (reason, message) = space.stalled::<Repo>("images", SOON).await?;
    assert_eq!(reason, "StoreOwnedElsewhere", "{message}");
    assert!(message.contains(&store_id), "{message}");

    config.insert("adopt".into(), store_id);
    space.store_secret(&config).await?;
    for object in &yaml {
        space.apply(object).await?;
    }
    space.apply(&object("Repo", "copy", json!({}))).await?;
    for commit in ["first", "second"] {
        space.ready::<Commit>(commit, PODS).await?;
    }
    space.ready::<Pipeline>("copy", PODS).await?;
    let (images, output) = (space.ready::<Repo>("images", SOON).await?, space.ready::<Repo>("copy", SOON).await?);
    assert_eq!((heads(&images), heads(&output)), before);
    assert_eq!(host.counts(), BTreeMap::new(), "nothing is computed twice");
    let commits = space.api::<Commit>().list(&ListParams::default()).await?.items;
    assert!(commits.len() >= 2, "history is back");
    Ok(())
}
