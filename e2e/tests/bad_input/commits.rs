//! Commits that name what is not there, or say what may not be.

use anyhow::{Result, bail};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use varve_api::Commit;
use varve_e2e::wait::{SOON, shown};
use varve_e2e::{Space, object};

use super::{put, repo, says, text};

#[tokio::test]
async fn a_commit_to_a_repo_that_is_missing_waits_for_it() -> Result<()> {
    let space = Space::new("no-repo").await?;
    space.with_store().await?;
    space.apply(&text("c", "r")).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "RepoNotFound", &["Repo r", &space.name, "create it"]);
    space.apply(&repo("r")).await?;
    space.ready::<Commit>("c", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_commit_refers_to_is_named_when_it_is_missing() -> Result<()> {
    let space = Space::new("references").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("first", "r")).await?;
    space.ready::<Commit>("first", SOON).await?;
    let changes = |change: Value| json!({ "repo": "r", "changes": [change] });
    let uid = "0192f0c1-2345-7abc-8def-0123456789ab";
    let cases = [
        (
            "revert",
            json!({ "repo": "r", "revertTo": "nothing" }),
            "CommitNotFound",
            vec!["revertTo", "nothing", "Repo r"],
        ),
        ("revert-uid", json!({ "repo": "r", "revertTo": uid }), "CommitNotFound", vec!["revertTo", uid]),
        (
            "copy-repo",
            changes(json!({ "copy": { "path": "/b", "from": { "repo": "elsewhere", "path": "/a" } } })),
            "RepoNotFound",
            vec!["elsewhere"],
        ),
        (
            "copy-path",
            changes(json!({ "copy": { "path": "/b", "from": { "path": "/nothing" } } })),
            "PathNotFound",
            vec!["/nothing"],
        ),
        ("delete", changes(json!({ "delete": { "path": "/nothing" } })), "PathNotFound", vec!["/nothing"]),
        (
            "map",
            changes(json!({ "put": { "path": "/b", "configMap": { "name": "words", "key": "k" } } })),
            "ConfigMapNotFound",
            vec!["words"],
        ),
        ("below-a-file", changes(json!({ "put": { "path": "/a/b", "text": "t" } })), "", vec![]),
    ];
    for (name, spec, reason, words) in cases {
        space.apply(&object("Commit", name, spec)).await?;
        if reason.is_empty() {
            // `a` and `a/` never exist together: putting one replaces the other.
            space.ready::<Commit>(name, SOON).await?;
        } else {
            says(&space.stalled::<Commit>(name, SOON).await?, reason, &words);
        }
    }
    let map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words" }, "data": { "other": "o" } });
    space.apply(&map).await?;
    let is = |commit: &Commit| shown(commit).contains("ConfigMapKeyNotFound");
    space.wait("map", SOON, is).await?;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words" }, "data": { "k": "v" } });
    space.apply(&map).await?;
    space.ready::<Commit>("map", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_parent_that_is_not_at_the_head_is_refused() -> Result<()> {
    let space = Space::new("parent").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    for name in ["first", "second"] {
        space.apply(&text(name, "r")).await?;
        space.ready::<Commit>(name, SOON).await?;
    }
    let spec = json!({ "repo": "r", "parent": "first", "changes": [{ "put": { "path": "/b", "text": "b" } }] });
    space.apply(&object("Commit", "late", spec)).await?;
    says(&space.stalled::<Commit>("late", SOON).await?, "ParentNotHead", &["first"]);
    Ok(())
}

#[tokio::test]
async fn a_name_that_the_store_knows_with_another_spec_is_taken() -> Result<()> {
    let space = Space::new("name-taken").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("c", "r")).await?;
    let first = space.ready::<Commit>("c", SOON).await?;
    // Applied again, it adopts what it made: the same uid, no second commit.
    space.api::<Commit>().delete("c", &DeleteParams::default()).await?;
    space.apply(&text("c", "r")).await?;
    let again = space.ready::<Commit>("c", SOON).await?;
    let uid = |commit: &Commit| commit.status.as_ref().map(|s| (s.uid.clone(), s.seq));
    assert_eq!(uid(&again), uid(&first));
    space.api::<Commit>().delete("c", &DeleteParams::default()).await?;
    let other = json!({ "repo": "r", "changes": [{ "put": { "path": "/a", "text": "another" } }] });
    space.apply(&object("Commit", "c", other)).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "NameTaken", &["c", "another name"]);
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_too_long_in_bytes_is_refused_with_its_length() -> Result<()> {
    let space = Space::new("long-path").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    // 2,176 characters, of which the API server allows 4,096.
    let deep = format!("/{}", vec!["é".repeat(127); 17].join("/"));
    let cases = [
        ("name", format!("/{}", "x".repeat(256)), "has 256 bytes and may have at most 255"),
        ("path", deep, "has 4334 bytes and may have at most 4096"),
    ];
    for (name, path, words) in cases {
        space.apply(&object("Commit", name, json!({ "repo": "r", "changes": [put(&path, "t")] }))).await?;
        says(&space.stalled::<Commit>(name, SOON).await?, "InvalidPath", &[name, words]);
    }
    Ok(())
}

#[tokio::test]
async fn a_text_may_have_131072_characters_and_not_one_more() -> Result<()> {
    let space = Space::new("long-text").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let of = |characters: usize| json!({ "repo": "r", "changes": [put("/long", &"é".repeat(characters))] });
    let Err(kube::Error::Api(refused)) = space.apply(&object("Commit", "longer", of(131_073))).await else {
        bail!("one character too many is not refused");
    };
    for word in ["spec.changes[0].put.text", "may not be more than 131072"] {
        assert!(refused.message.contains(word), "{word}: {}", refused.message);
    }
    let landed = space.commit("longest", of(131_072)).await?;
    assert_eq!(landed.status.and_then(|status| status.bytes), Some(262_144));
    Ok(())
}
