//! People: they commit, change, suspend, cancel and delete, at moments that chance chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use varve_api::conditions::{self, HasConditions as _, Type};
use varve_api::{Commit, Job, Pipeline, Repo, labels};

use crate::worker::BAD;
use crate::world::{Kind, World};

/// The Repo that people commit to.
pub(crate) const SOURCE: &str = "source";
/// How many paths people put files at.
const FILES: usize = 6;
/// The longest between two acts.
const LONGEST_PAUSE: Duration = Duration::from_secs(90);
/// How long people wait for their Commits before the last one, at most: among many faults, minutes pass between tries.
const LONGEST_WAIT: Duration = Duration::from_hours(2);
/// How long after their last act the faults cease, at most.
const PATIENCE: Duration = Duration::from_mins(10);

/// Pipelines by name, with their inputs as (Repo, glob).
pub(crate) type Shape = &'static [(&'static str, &'static [(&'static str, &'static str)])];

/// What lives are about: one Pipeline, a chain, and a diamond.
const SHAPES: [Shape; 3] = [
    &[("each", &[(SOURCE, "/*")])],
    &[("each", &[(SOURCE, "/*")]), ("whole", &[("each", "/")])],
    &[("left", &[(SOURCE, "/*")]), ("right", &[(SOURCE, "/")]), ("join", &[("left", "/"), ("right", "/")])],
];

/// Acts; gives the names of the Commits that were acknowledged.
pub(crate) async fn act(world: &World) -> Vec<String> {
    let chance = world.chance.fork();
    let shape = SHAPES[chance.below(SHAPES.len())];
    let mut people = People { world, chance, shape, versions: BTreeMap::new(), commits: 0 };
    people.begin().await;
    // Most lives are short: what breaks a law takes few acts, and a life costs what happens in it.
    let acts = if people.chance.once_in(8) { 3 + people.chance.below(10) } else { 1 + people.chance.below(4) };
    for _ in 0..acts {
        let pause = people.chance.pause(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        people.act_once().await;
    }
    people.end().await;
    tokio::time::sleep(people.chance.pause(PATIENCE)).await;
    people.acknowledged().await
}

struct People<'a> {
    world: &'a World,
    chance: super::chance::Chance,
    shape: Shape,
    /// The command's version, by Pipeline.
    versions: BTreeMap<&'static str, u32>,
    commits: u32,
}

impl People<'_> {
    async fn begin(&mut self) {
        self.create::<Repo>("Repo", SOURCE, json!({})).await;
        for (name, _) in self.shape {
            self.apply_pipeline(name, false).await;
        }
        self.commit_something().await;
    }

    /// All runs again, and one last Commit, of good files alone, must reach everything.
    async fn end(&mut self) {
        for (name, _) in self.shape {
            self.apply_pipeline(name, false).await;
        }
        self.wait_for_commits().await;
        let changes = (0..FILES).map(|file| put(file, &format!("text {}", self.chance.below(5)))).collect();
        self.commit(json!({ "repo": SOURCE, "changes": Value::Array(changes) })).await;
    }

    /// Waits until every Commit has landed or can't: the order in which they land is nobody's.
    async fn wait_for_commits(&self) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < LONGEST_WAIT {
            let all = self.world.all::<Commit>().await.unwrap_or_default();
            let is_ready = |commit: &Commit| conditions::holds(commit.conditions(), Type::Ready);
            let ready: BTreeSet<String> =
                all.iter().filter(|commit| is_ready(commit)).map(ResourceExt::name_any).collect();
            // One that goes back to another lands soon after that has, whatever it said before.
            let may_follow = |commit: &Commit| commit.spec.revert_to.as_ref().is_some_and(|to| ready.contains(to));
            let has_ended = |commit: &Commit| {
                is_ready(commit) || (conditions::holds(commit.conditions(), Type::Stalled) && !may_follow(commit))
            };
            if all.iter().all(has_ended) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
    }

    async fn act_once(&mut self) {
        let pipeline = self.shape[self.chance.below(self.shape.len())].0;
        match self.chance.below(19) {
            0..=4 => self.commit_something().await,
            5 => {
                *self.versions.entry(pipeline).or_default() += 1;
                self.apply_pipeline(pipeline, false).await;
            }
            6 => self.apply_pipeline(pipeline, true).await,
            7 => {
                let annotation =
                    json!({ "metadata": { "annotations": { labels::RESOLVE_IMAGE: self.commits.to_string() } } });
                self.patch::<Pipeline>(pipeline, &annotation).await;
            }
            8 => {
                if let Some(job) = self.any::<Job>().await {
                    self.patch::<Job>(&job, &json!({ "spec": { "cancel": true } })).await;
                }
            }
            9 => self.delete_any::<Job>().await,
            10 => self.delete_any::<BatchJob>().await,
            11 => self.delete_any::<Pod>().await,
            12 => self.delete_any::<Commit>().await,
            13 => self.delete_any::<Pipeline>().await,
            14 => {
                for _ in 0..=1 + self.chance.below(4) {
                    self.commit_something().await;
                }
            }
            15 if self.commits > 1 => {
                let earlier = format!("c{}", 1 + self.chance.below(self.commits as usize));
                self.commit(json!({ "repo": SOURCE, "revertTo": earlier })).await;
            }
            16 => self.make_repo_anew().await,
            _ => {
                let bad = put(self.chance.below(FILES), BAD);
                self.commit(json!({ "repo": SOURCE, "changes": [bad] })).await;
            }
        }
    }

    /// Somebody deletes a Repo, whose data stays, and makes it again.
    async fn make_repo_anew(&self) {
        let Some(name) = self.any::<Repo>().await else { return };
        self.world.trace.say("people", format!("delete Repo {name}"));
        let api = self.world.api::<Repo>();
        self.told(api.delete(&name, &DeleteParams::background()).await.map(drop));
        while matches!(api.get_opt(&name).await, Ok(Some(_))) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.create::<Repo>("Repo", &name, json!({})).await;
    }

    /// A few files put and deleted.
    async fn commit_something(&mut self) {
        let changes: Vec<Value> = (0..=self.chance.below(3))
            .map(|_| {
                let file = self.chance.below(FILES);
                if self.chance.once_in(4) {
                    json!({ "delete": { "path": format!("/f{file}") } })
                } else {
                    put(file, &format!("text {}", self.chance.below(5)))
                }
            })
            .collect();
        self.commit(json!({ "repo": SOURCE, "changes": changes })).await;
    }

    async fn commit(&mut self, spec: Value) {
        self.commits += 1;
        self.create::<Commit>("Commit", &format!("c{}", self.commits), spec).await;
    }

    async fn apply_pipeline(&self, name: &'static str, suspend: bool) {
        let Some((_, inputs)) = self.shape.iter().find(|(known, _)| *known == name) else { return };
        let inputs: Vec<Value> = inputs.iter().map(|(repo, glob)| json!({ "name": repo, "glob": glob })).collect();
        let version = self.versions.get(name).copied().unwrap_or_default();
        let spec = json!({
            "inputs": inputs, "parallelism": 1 + name.len() % 3, "suspend": suspend,
            "datum": { "tries": 3, "timeoutSeconds": 60 },
            "container": { "image": "simulated", "command": [format!("{name}-{version}")] },
        });
        let object = json!({ "apiVersion": varve_api::API_VERSION, "kind": "Pipeline", "metadata": { "name": name }, "spec": spec });
        self.world.trace.say("people", format!("apply Pipeline {name} version {version} suspend {suspend}"));
        let api = self.world.api::<Pipeline>();
        let applied = api.patch(name, &PatchParams::apply("people").force(), &Patch::Apply(&object)).await;
        self.told(applied.map(drop));
    }

    async fn create<K: Kind>(&self, kind: &str, name: &str, spec: Value) {
        self.world.trace.say("people", format!("create {kind} {name} {spec}"));
        let object =
            json!({ "apiVersion": varve_api::API_VERSION, "kind": kind, "metadata": { "name": name }, "spec": spec });
        let api = self.world.api::<K>();
        match serde_json::from_value(object) {
            Ok(object) => self.told(api.create(&PostParams::default(), &object).await.map(drop)),
            Err(error) => self.world.trace.say("people", error.to_string()),
        }
    }

    async fn patch<K: Kind>(&self, name: &str, patch: &Value) {
        self.world.trace.say("people", format!("patch {} {name} {patch}", K::kind(&())));
        let api = self.world.api::<K>();
        self.told(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop));
    }

    async fn any<K: Kind>(&self) -> Option<String> {
        let all = self.world.all::<K>().await.ok()?;
        self.chance.one_of(&all).map(ResourceExt::name_any)
    }

    async fn delete_any<K: Kind>(&self) {
        let Some(name) = self.any::<K>().await else { return };
        self.world.trace.say("people", format!("delete {} {name}", K::kind(&())));
        self.world.witness.somebody_deletes(&name);
        let api = self.world.api::<K>();
        self.told(api.delete(&name, &DeleteParams::background()).await.map(drop));
    }

    /// People read what they are refused; it is no fault of theirs that a thing has gone meanwhile.
    fn told(&self, outcome: kube::Result<()>) {
        if let Err(error) = outcome {
            self.world.trace.say("people", format!("refused: {error}"));
        }
    }

    /// The Commits that say that they are ready.
    async fn acknowledged(&self) -> Vec<String> {
        let all = self.world.all::<Commit>().await.unwrap_or_default();
        let ready = all.into_iter().filter(|commit| conditions::holds(commit.conditions(), Type::Ready));
        ready.map(|commit| commit.name_any()).collect()
    }
}

fn put(file: usize, text: &str) -> Value {
    json!({ "put": { "path": format!("/f{file}"), "text": text } })
}
