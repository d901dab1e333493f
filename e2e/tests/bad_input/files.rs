//! Files that are odd: by their names, by how many there are in one directory, by having no byte.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use varve_api::Job;
use varve_e2e::Space;
use varve_e2e::host::Host;
use varve_e2e::outcome::{counts, datums, tree};
use varve_e2e::wait::SOON;

use super::{failed, put, repo, says, script, text};

/// Names that a repo takes, and that shells, globs and screens trip over.
fn odd_names() -> Vec<String> {
    let short = [
        "-rf",
        "..a",
        "...",
        "a b",
        "a\tb",
        "a\nb",
        "a\\b",
        "*",
        "$(exit 1)",
        // An é of one character and one of two: nothing is normalised.
        "\u{e9}",
        "e\u{301}",
        // Shown, it turns what follows around.
        "\u{202e}txt",
    ];
    let long = ["x".repeat(255), format!("{}x", "ü".repeat(127))];
    short.into_iter().map(str::to_owned).chain(long).collect()
}

#[tokio::test]
async fn odd_names_go_through_code_byte_by_byte() -> Result<()> {
    let space = Space::new("names").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&script("copy", "r", "/*", r#"cp "$r" /pfs/out/"#)?).await?;
    let names = odd_names();
    let puts: Vec<Value> = names.iter().map(|name| put(&format!("/{name}"), &format!("{name:?}\n"))).collect();
    let input = space.change("r", "names", &puts).await?;
    let (job, output) = space.outcome("copy", &input).await?;
    let all = names.len() as u64;
    assert_eq!(datums(&job), counts(all, 0, all));
    assert_eq!(tree(&output), tree(&input));

    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    space.checkout(&output, &files).await?;
    let found = std::fs::read_dir(&files)?.map(|file| file.map(|file| file.file_name()));
    let found: BTreeSet<OsString> = found.collect::<std::io::Result<_>>()?;
    assert_eq!(found, names.into_iter().map(OsString::from).collect());
    Ok(())
}

/// What is wrong with an output, said on one line whatever its name is.
#[tokio::test]
async fn an_output_whose_name_no_repo_takes_fails_its_datum_and_is_shown_escaped() -> Result<()> {
    let space = Space::new("no-names").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("one", "r")).await?;
    // 15 names and 2 more, of 255 bytes each: no call of the system takes so long a path at once.
    let deep = "n=$(head -c 255 /dev/zero | tr '\\0' n); p=/pfs/out; for i in $(seq 15); do p=$p/$n; done; \
                mkdir -p $p && cd $p && mkdir -p $n/$n && echo deep >$n/$n/f";
    let cases = [
        (
            "no-text",
            r#"echo x >"/pfs/out/caf$(printf '\351')""#,
            r"the output /pfs/out/caf\xe9 can't be used: its name is not UTF-8, as names in a repo must be",
            "not UTF-8",
        ),
        (
            "two-lines",
            "mkfifo '/pfs/out/a\nb'",
            r"the output /pfs/out/a\nb can't be used: it is a FIFO, and a repo holds only files",
            "a FIFO",
        ),
        ("deep", deep, "the output /pfs/out/nnnn", "has 4351 bytes and may have at most 4096"),
    ];
    for (name, code, ..) in &cases {
        space.apply(&script(name, "r", "/", code)?).await?;
    }
    for (name, _, words, last) in cases {
        let job = failed(&space, name).await?;
        let told = space.stalled::<Job>(&job.name_any(), SOON).await?;
        says(&told, "DatumsFailed", &["what it left in /pfs/out can't be kept", words]);
        let failures = job.status.map(|status| status.first_failures).unwrap_or_default();
        let failure = failures.first().context("a failure")?;
        assert_eq!((failures.len(), failure.reason.as_str()), (1, "OutputUnusable"), "{failure:?}");
        assert!(failure.last_lines.as_deref().is_some_and(|lines| lines.contains(last)), "{failure:?}");
    }
    Ok(())
}

#[tokio::test]
async fn ten_thousand_files_in_one_directory_are_kept_and_one_more_adds_one() -> Result<()> {
    const FILES: u64 = 10_000;
    let space = Space::new("many").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let code = "most=$(cat /pfs/r/n); mkdir /pfs/out/d; n=0; \
                while [ $n -lt $most ]; do echo $n >/pfs/out/d/$n; n=$((n + 1)); done";
    space.apply(&script("many", "r", "/", code)?).await?;
    space.apply(&script("count", "many", "/", "ls /pfs/many/d | wc -l >/pfs/out/files")?).await?;
    for (name, files, added) in [("first", FILES, FILES), ("one-more", FILES + 1, 1)] {
        let input = space.change("r", name, &[put("/n", &files.to_string())]).await?;
        let (_, made) = space.outcome("many", &input).await?;
        let status = made.status.clone().context("a status")?;
        let summary = (status.files, status.added, status.changed, status.removed);
        assert_eq!(summary, (Some(files), Some(added), Some(0), Some(0)));
        let (_, counted) = space.outcome("count", &made).await?;
        assert_eq!(space.files_of(&counted.name_any()).await?["/files"].trim(), files.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn a_file_without_a_byte_is_put_fetched_seen_and_kept() -> Result<()> {
    let space = Space::new("empty").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let code = r#"[ -f "$r" ] && [ ! -s "$r" ] && : >"/pfs/out/${r##*/}""#;
    space.apply(&script("copy", "r", "/*", code)?).await?;
    let fetched = json!({ "put": { "path": "/fetched", "url": host.serve("empty", "") } });
    let input = space.change("r", "empty", &[put("/put", ""), fetched]).await?;
    let status = input.status.clone().context("a status")?;
    assert_eq!((status.files, status.bytes), (Some(2), Some(0)));
    let (job, output) = space.outcome("copy", &input).await?;
    assert_eq!(datums(&job), counts(2, 0, 2));
    assert_eq!(tree(&output), tree(&input));
    let files = space.files_of(&output.name_any()).await?;
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    assert_eq!(files, [("/fetched", ""), ("/put", "")]);
    Ok(())
}
