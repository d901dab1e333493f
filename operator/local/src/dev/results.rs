//! What has come out: the files at the heads of Repos that Pipelines write and none reads, shortly.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use varve_api::{Repo, pipeline::Input, show::size};
use varve_store::{Entry, Store};

use super::Error;
use super::looks::{Looks, shown_name};
use super::show::{Screen, amount};
use super::stores::{self, Stores};

/// Files named of one Repo.
const MAX_NAMES: usize = 10;
/// Lines shown of a file of text that is the only one.
const MAX_LINES: usize = 10;
/// The largest file whose lines are shown, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The commits whose files were shown, by Repo.
#[derive(Default)]
pub(super) struct Results {
    shown: HashMap<String, String>,
}

impl Results {
    /// Shows what is new.
    pub(super) async fn show(&mut self, looks: &Looks, stores: &Stores, screen: &Screen) {
        for (repo, branch) in leaves(looks) {
            let heads = repo.status.iter().flat_map(|status| &status.branches);
            let Some(head) = heads.into_iter().find(|head| head.name == branch) else { continue };
            let name = shown_name(repo.as_ref());
            if self.shown.insert(name.clone(), head.head.commit.clone()).as_deref() == Some(&head.head.commit) {
                continue;
            }
            let lines = match lines(&repo, &branch, looks, stores).await {
                Ok(lines) => lines,
                Err(error) => vec![format!("can't be shown: {error}")],
            };
            screen.say("");
            screen.say(&format!("{name}: {}", amount(head.files, head.bytes)));
            for line in lines {
                screen.say(&format!("  {line}"));
            }
            screen.say("");
        }
    }
}

/// Repos that Pipelines write and none reads, with the branch that is written.
fn leaves(looks: &Looks) -> Vec<(std::sync::Arc<Repo>, String)> {
    let pipelines = looks.pipelines.state();
    let place = |namespace: &str, repo: &str| (namespace.to_owned(), repo.to_owned());
    let mut read = BTreeSet::new();
    for pipeline in &pipelines {
        let namespace = pipeline.namespace().unwrap_or_default();
        read.extend(pipeline.spec.inputs.iter().map(Input::repo).map(|repo| place(&namespace, repo)));
    }
    let mut leaves = Vec::new();
    for pipeline in &pipelines {
        let at = place(&pipeline.namespace().unwrap_or_default(), pipeline.spec.output_repo(&pipeline.name_any()));
        let found = looks.repos.state().into_iter().find(|repo| {
            repo.namespace().as_deref() == Some(at.0.as_str()) && repo.name_any() == at.1 && !read.contains(&at)
        });
        leaves.extend(found.map(|repo| (repo, pipeline.spec.output_branch().to_owned())));
    }
    leaves.sort_by_key(|(repo, _)| repo.name_any());
    leaves
}

async fn lines(repo: &Repo, branch: &str, looks: &Looks, stores: &Stores) -> Result<Vec<String>, Error> {
    let store = stores.of(looks, &repo.namespace().unwrap_or_default(), &repo.name_any()).await?;
    let Some(commit) = stores::head(&store, repo, branch).await? else { return Ok(Vec::new()) };
    let told = || Error::store(format!("read Repo {}", repo.name_any()));
    let tree = commit.tree();
    let first: Vec<_> = store.walk(&tree).take(MAX_NAMES).try_collect().await.map_err(told())?;
    if let [(path, Entry::File { content, .. })] = first.as_slice()
        && content.size <= MAX_BYTES
        && let Some(text) = text(&store, content).await
    {
        let all: Vec<&str> = text.lines().collect();
        let mut lines = vec![format!("{path}:")];
        lines.extend(all.iter().take(MAX_LINES).map(|line| format!("  {line}")));
        if all.len() > MAX_LINES {
            lines.push(format!("  … {} lines more", all.len() - MAX_LINES));
        }
        return Ok(lines);
    }
    let mut lines: Vec<String> = first.iter().map(|(path, entry)| format!("{path}  {}", size(entry.bytes()))).collect();
    if tree.files > lines.len() as u64 {
        lines.push(format!("… {} more", tree.files - lines.len() as u64));
    }
    Ok(lines)
}

/// A file's content, if it is text without anything that a terminal would obey.
async fn text(store: &Store, content: &varve_store::ContentRef) -> Option<String> {
    let bytes = store.read_all(content, MAX_BYTES).await.ok()?;
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    let is_plain = text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t');
    is_plain.then_some(text)
}
