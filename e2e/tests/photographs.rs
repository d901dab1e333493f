//! The example `docs/examples/edges` with its real images and photographs, through everything that can happen to a
//! photograph. How often the detector ran is counted by what it printed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use varve_api::{Job, Pipeline};
use varve_e2e::host::Host;
use varve_e2e::outcome::{counts, datums, tree};
use varve_e2e::wait::SOON;
use varve_e2e::{Space, crane, env, reader};

/// The example's photographs, in the order of its list; the last comes a day later.
fn photographs() -> Result<Vec<(String, PathBuf)>> {
    let folder = PathBuf::from(env("VARVE_PHOTOGRAPHS")?);
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/edges/photographs.txt");
    let names = std::fs::read_to_string(list).context("read the list of photographs")?;
    Ok(names.lines().map(|name| (name.to_owned(), folder.join(name))).collect())
}

/// A namespace with the example's Repo and Pipelines, the detector's image by this name.
async fn example(purpose: &str, detector: &str) -> Result<Space> {
    let space = Space::new(purpose).await?;
    space.with_store().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/edges");
    for file in ["repo.yaml", "pipelines.yaml"] {
        let yaml = std::fs::read_to_string(folder.join(file)).with_context(|| format!("read {file}"))?;
        let yaml = yaml.replace("registry.example/edges:1", detector);
        space.apply_yaml(&yaml.replace("registry.example/montage:1", &env("VARVE_MONTAGE_IMAGE")?)).await?;
    }
    Ok(space)
}

/// A change that puts a file of the host into the Repo.
fn fetch(name: &str, url: &str) -> Value {
    json!({ "put": { "path": format!("/{name}"), "url": url } })
}

/// The photographs of which the detector printed a line in this Job, each as often as it ran.
async fn detected(space: &Space, job: &Job) -> Result<Vec<String>> {
    let printed = space.printed(job).await?.concat();
    let lines = printed.lines().filter(|line| line.ends_with("edge pixels"));
    let mut names: Vec<String> = lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn the_detector_runs_on_just_what_changed() -> Result<()> {
    let host = Host::new().await?;
    let mut urls = Vec::new();
    for (name, path) in photographs()? {
        urls.push((name.clone(), host.serve(&name, std::fs::read(path)?)));
    }
    let original = env("VARVE_EDGES_IMAGE")?;
    let space = example("photographs", &original).await?;
    let (last, first) = urls.split_last().context("photographs")?;

    let puts: Vec<Value> = first.iter().map(|(name, url)| fetch(name, url)).collect();
    let monday = space.change("images", "monday", &puts).await?;
    let (job, monday_edges) = space.outcome("edges", &monday).await?;
    assert_eq!(datums(&job), counts(14, 0, 14));
    assert_eq!(detected(&space, &job).await?, first.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    let (_, monday_montage) = space.outcome("montage", &monday_edges).await?;

    let tuesday = space.change("images", "tuesday", &[fetch(&last.0, &last.1)]).await?;
    let (job, _) = space.outcome("edges", &tuesday).await?;
    assert_eq!(datums(&job), counts(15, 14, 1));
    assert_eq!(detected(&space, &job).await?, [last.0.as_str()]);

    // One replaced, one removed.
    let other = host.serve("coins-again.png", std::fs::read(&photographs()?[0].1)?);
    let delete = json!({ "delete": { "path": "/moon.png" } });
    let wednesday = space.change("images", "wednesday", &[fetch("coins.png", &other), delete]).await?;
    let (job, wednesday_edges) = space.outcome("edges", &wednesday).await?;
    assert_eq!(datums(&job), counts(14, 13, 1));
    assert_eq!(detected(&space, &job).await?, ["coins.png"]);
    let (job, wednesday_montage) = space.outcome("montage", &wednesday_edges).await?;
    assert_eq!(datums(&job), counts(1, 0, 1));
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    space.checkout(&wednesday_edges, &files).await?;
    let written: BTreeSet<String> = std::fs::read_dir(&files)?
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let stems = urls.iter().filter_map(|(name, _)| name.split_once('.')).map(|(stem, _)| format!("{stem}.png"));
    assert_eq!(written, stems.filter(|name| name != "moon.png").collect());
    assert_eq!(tree(&wednesday_edges), Some(reader::tree_id(&files)?));

    // From scratch, elsewhere, in another order.
    let scratch = example("scratch", &original).await?;
    let mut puts: Vec<Value> = urls
        .iter()
        .rev()
        .filter(|(name, _)| name != "moon.png" && name != "coins.png")
        .map(|(name, url)| fetch(name, url))
        .collect();
    puts.push(fetch("coins.png", &other));
    let all = scratch.change("images", "all", &puts).await?;
    assert_eq!(tree(&all), tree(&wednesday));
    let (job, edges) = scratch.outcome("edges", &all).await?;
    assert_eq!(datums(&job), counts(14, 0, 14));
    assert_eq!(tree(&edges), tree(&wednesday_edges));
    let (_, montage) = scratch.outcome("montage", &edges).await?;
    assert_eq!(tree(&montage), tree(&wednesday_montage));

    // Back to Monday runs nothing, neither the detector nor the montage.
    let back = space.commit("back", json!({ "repo": "images", "revertTo": "monday" })).await?;
    assert_eq!(tree(&back), tree(&monday));
    let (job, edges) = space.outcome("edges", &back).await?;
    assert_eq!(datums(&job), counts(14, 14, 0));
    assert_eq!(detected(&space, &job).await?, Vec::<String>::new());
    assert_eq!(tree(&edges), tree(&monday_edges));
    let (job, montage) = space.outcome("montage", &edges).await?;
    assert_eq!(datums(&job), counts(1, 1, 0));
    assert_eq!(tree(&montage), tree(&monday_montage));
    Ok(())
}

#[tokio::test]
async fn a_detector_under_another_tag_runs_nothing_and_another_detector_everything() -> Result<()> {
    let host = Host::new().await?;
    let registry = env("VARVE_REGISTRY")?;
    let original = env("VARVE_EDGES_IMAGE")?;
    let space = example("detector", &original).await?;
    let repository = format!("{registry}/{}", space.name);
    let tagged = format!("{repository}:new");
    crane(&["copy", "--insecure", &original, &tagged])?;

    let mut names = Vec::new();
    let mut puts = Vec::new();
    for (name, path) in photographs()?.into_iter().take(4) {
        puts.push(fetch(&name, &host.serve(&name, std::fs::read(path)?)));
        names.push(name);
    }
    let (held_back, first) = puts.split_last().context("photographs")?;
    let first = space.change("images", "first", first).await?;
    space.outcome("edges", &first).await?;

    space.kubectl(&["patch", "vpipe/edges", "--type=merge", "-p", &image_patch(&tagged)])?;
    let second = space.change("images", "second", std::slice::from_ref(held_back)).await?;
    let (job, before) = space.outcome("edges", &second).await?;
    assert_eq!(datums(&job), counts(4, 3, 1));
    assert_eq!(detected(&space, &job).await?, [names[3].as_str()]);

    // Another image under the same tag, taken up when that is asked for.
    crane(&["mutate", "--insecure", &tagged, "--label", "detector=another", "--tag", &tagged])?;
    let third = space.change("images", "third", &[json!({ "delete": { "path": format!("/{}", names[3]) } })]).await?;
    let (job, _) = space.outcome("edges", &third).await?;
    assert_eq!(datums(&job), counts(3, 3, 0));
    space.kubectl(&["annotate", "vpipe/edges", "varve.dev/resolve-image=now"])?;
    let is_taken_up = |pipeline: &Pipeline| {
        let image = pipeline.status.as_ref().and_then(|status| status.image.as_ref());
        image.is_some_and(|image| image.resolved_request.as_deref() == Some("now"))
    };
    space.wait("edges", SOON, is_taken_up).await?;
    let fourth = space.commit("fourth", json!({ "repo": "images", "revertTo": "second" })).await?;
    let (job, after) = space.outcome("edges", &fourth).await?;
    // The annotation itself may have made the Job that ran three of the four.
    let ran = detected(&space, &job).await?;
    assert!(ran == names || ran == names[3..], "{ran:?}");
    assert_eq!(tree(&after), tree(&before));
    let jobs = space.api::<Job>().list(&kube::api::ListParams::default().fields("spec.pipeline=edges")).await?;
    let mut all = Vec::new();
    for job in jobs.items {
        all.extend(detected(&space, &job).await?);
    }
    all.sort();
    let twice: Vec<String> = names.iter().flat_map(|name| [name.clone(), name.clone()]).collect();
    assert_eq!(all, twice, "each once by the first image, and once by the other");
    Ok(())
}

fn image_patch(image: &str) -> String {
    json!({ "spec": { "container": { "image": image } } }).to_string()
}
