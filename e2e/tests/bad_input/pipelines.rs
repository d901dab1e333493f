//! Pipelines that can't be, or whose code fails; names of inputs, and inputs that change.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use varve_api::meta::InputCommit;
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, until};
use varve_e2e::{Space, env, object};

use super::{failed, pipeline, put, repo, says, script, text, waiting};

#[tokio::test]
async fn inputs_that_cannot_be_are_named() -> Result<()> {
    let space = Space::new("inputs").await?;
    space.with_store().await?;
    for name in ["r", "own"] {
        space.apply(&repo(name)).await?;
        space.ready::<Repo>(name, SOON).await?;
    }
    let cases = [
        (
            "missing",
            json!([{ "name": "a", "repo": "nowhere", "glob": "/" }]),
            "RepoNotFound",
            vec!["nowhere", "create it"],
        ),
        ("own", json!([{ "name": "own", "glob": "/" }]), "InputIsOutput", vec!["own"]),
        (
            "cycle",
            json!([{ "name": "a", "cross": ["b"] }, { "name": "b", "union": ["a"] }, { "name": "r", "glob": "/" }]),
            "InputCycle",
            vec!["a", "b"],
        ),
        (
            "mounts",
            json!([{ "name": "a", "repo": "r", "as": "x", "glob": "/" }, { "name": "b", "repo": "r", "as": "x", "glob": "/" }]),
            "MountTaken",
            vec!["x"],
        ),
        ("glob", json!([{ "name": "r", "glob": "/[" }]), "GlobInvalid", vec!["/["]),
    ];
    for (name, inputs, reason, words) in cases {
        space.apply(&pipeline(name, inputs)?).await?;
        says(&space.stalled::<Pipeline>(name, SOON).await?, reason, &words);
    }
    space.apply(&repo("nowhere")).await?;
    space.ready::<Pipeline>("missing", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn an_output_branch_has_one_writer() -> Result<()> {
    let space = Space::new("writers").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let to = |name: &str| -> Result<Value> {
        let mut object = pipeline(name, json!([{ "name": "r", "glob": "/" }]))?;
        object["spec"]["output"] = json!({ "repo": "results" });
        Ok(object)
    };
    space.apply(&to("older")?).await?;
    let older = space.ready::<Pipeline>("older", SOON).await?;
    // Ages are told in whole seconds; of two Pipelines of one second the uid decides, which nobody can foresee.
    let made = older.metadata.creation_timestamp.context("when it was made")?.0.as_second();
    until("the next second", SOON, async || Ok(jiff::Timestamp::now().as_second() > made)).await?;
    space.apply(&to("younger")?).await?;
    says(&space.stalled::<Pipeline>("younger", SOON).await?, "OutputTaken", &["older", "results"]);
    space.apply(&text("by-hand", "results")).await?;
    says(&space.stalled::<Commit>("by-hand", SOON).await?, "OutputBranch", &["older", "results"]);
    Ok(())
}

#[tokio::test]
async fn of_pipelines_that_feed_each_other_the_younger_is_held_back() -> Result<()> {
    let space = Space::new("circle").await?;
    space.with_store().await?;
    for (name, reads) in [("a", "b"), ("b", "a")] {
        space.apply(&repo(name)).await?;
        space.apply(&pipeline(name, json!([{ "name": reads, "glob": "/" }]))?).await?;
    }
    let mut both = space.api::<Pipeline>().list(&ListParams::default()).await?.items;
    both.sort_by_key(|pipeline| (pipeline.creation_timestamp().map(|time| time.0), pipeline.uid()));
    let younger = both.last().context("two Pipelines")?.name_any();
    says(&space.stalled::<Pipeline>(&younger, SOON).await?, "InputCycle", &["a → ", "b → ", &younger]);
    space.ready::<Pipeline>(&both[0].name_any(), SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_pinned_output_branch_holds_its_pipeline_until_it_is_let_go() -> Result<()> {
    let space = Space::new("pinned").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&object("Repo", "out", json!({ "branches": [{ "name": "main", "head": "main" }] }))).await?;
    let mut writer = pipeline("writer", json!([{ "name": "r", "glob": "/" }]))?;
    writer["spec"]["output"] = json!({ "repo": "out" });
    space.apply(&writer).await?;
    let input =
        space.commit("one", json!({ "repo": "r", "changes": [{ "put": { "path": "/a", "text": "a" } }] })).await?;
    says(&space.stalled::<Pipeline>("writer", SOON).await?, "BranchPinned", &["out", "main"]);
    assert!(space.api::<Job>().list(&ListParams::default()).await?.items.is_empty(), "a Job was made in vain");
    space.apply(&repo("out")).await?;
    space.outcome("writer", &input).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_or_an_image_that_is_missing_is_named() -> Result<()> {
    let space = Space::new("missing").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let mut secret = pipeline("secret", json!([{ "name": "r", "glob": "/" }]))?;
    secret["spec"]["container"]["env"] =
        json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "nobody", "key": "k" } } }]);
    space.apply(&secret).await?;
    says(&space.stalled::<Pipeline>("secret", SOON).await?, "SecretNotFound", &["nobody", "create it"]);

    let mut store = pipeline("store", json!([{ "name": "r", "glob": "/" }]))?;
    store["spec"]["container"]["envFrom"] = json!([{ "secretRef": { "name": "varve-store" } }]);
    space.apply(&store).await?;
    says(&space.stalled::<Pipeline>("store", SOON).await?, "SecretForbidden", &["varve-store"]);

    let mut image = pipeline("image", json!([{ "name": "r", "glob": "/" }]))?;
    let reference = format!("{}/no/such:image", env("VARVE_REGISTRY")?);
    image["spec"]["container"]["image"] = reference.clone().into();
    space.apply(&image).await?;
    says(&space.stalled::<Pipeline>("image", SOON).await?, "ImageNotFound", &[&reference]);
    Ok(())
}

#[tokio::test]
async fn a_failed_datum_is_shown_with_the_last_lines_it_printed() -> Result<()> {
    let space = Space::new("failure").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("c", "r")).await?;
    let mut failing = script("failing", "r", "/*", "echo reading $r; echo the lens cap was on >&2; exit 7")?;
    failing["spec"]["datum"] = json!({ "tries": 2 });
    space.apply(&failing).await?;
    let job = failed(&space, "failing").await?;
    let status = job.status.as_ref().context("its status")?;
    assert_eq!(status.first_failures.len(), 1, "{status:?}");
    let failure = &status.first_failures[0];
    assert_eq!((failure.exit_code, failure.tries), (Some(7), 2), "{failure:?}");
    assert!(failure.datum.contains("/a"), "{failure:?}");
    assert!(failure.last_lines.as_deref().is_some_and(|lines| lines.contains("the lens cap was on")), "{failure:?}");
    assert_eq!(status.output_commit, None);
    Ok(())
}

/// Words of shells, and names in other letters than those that are refused, or that a shell can't spell.
const ODD_INPUTS: [&str; 7] = ["if", "done", "path", "Out", "PWD", "a-b", "1"];

#[tokio::test]
async fn an_input_may_have_the_name_of_a_shells_word() -> Result<()> {
    let space = Space::new("words").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let inputs: Value = ODD_INPUTS.iter().map(|name| json!({ "name": name, "repo": "r", "glob": "/" })).collect();
    let in_a_shell = r#"cat "$if/a" "$done/a" "$path/a" /pfs/Out/a >/pfs/out/a"#;
    for (name, command) in [("words", json!(["sh", "-c", in_a_shell])), ("given", json!(["env"]))] {
        let mut pipeline = pipeline(name, inputs.clone())?;
        pipeline["spec"]["container"]["command"] = command;
        space.apply(&pipeline).await?;
    }
    space.apply(&text("one", "r")).await?;
    let input = space.ready::<Commit>("one", SOON).await?;
    let (_, output) = space.outcome("words", &input).await?;
    assert_eq!(space.files_of(&output.name_any()).await?["/a"], "aaaa");

    let uid = uid(&input)?;
    let (job, _) = space.outcome("given", &input).await?;
    let printed = space.printed(&job).await?.concat();
    let given: BTreeSet<&str> = printed.lines().collect();
    for name in ODD_INPUTS {
        for variable in [format!("{name}=/pfs/{name}"), format!("{name}_COMMIT={uid}")] {
            assert!(given.contains(variable.as_str()), "{variable} is not in\n{printed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_replaced_while_a_job_reads_it_changes_the_next_job_alone() -> Result<()> {
    let space = Space::new("replaced").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&waiting("copy", &host)?).await?;
    let first = space.change("r", "first", &[put("/a", "old\n")]).await?;
    until("the code runs", PODS, async || Ok(host.counts().contains_key("start"))).await?;
    let second = space.change("r", "second", &[put("/a", "new\n")]).await?;
    host.serve("go", "go");
    for (input, content) in [(first, "old\n"), (second, "new\n")] {
        let (job, output) = space.outcome("copy", &input).await?;
        assert_eq!(space.files_of(&output.name_any()).await?["/a"], content);
        let by_job = job.status.and_then(|status| status.provenance).context("the Job's provenance")?;
        let by_commit = output.status.and_then(|status| status.provenance).context("the Commit's provenance")?;
        let wanted = InputCommit { name: "r".into(), repo: "r".into(), branch: "main".into(), commit: uid(&input)? };
        assert_eq!(by_job.inputs, by_commit.inputs);
        assert_eq!(by_job.inputs, [wanted]);
    }
    Ok(())
}

fn uid(commit: &Commit) -> Result<String> {
    commit.status.as_ref().and_then(|status| status.uid.clone()).context("the Commit's uid")
}
