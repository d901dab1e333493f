//! `kubectl` beside `varve dev`: what people do with it, with each `kubectl` that `VARVE_TEST_KUBECTLS` names
//! (paths, with `:` between them). `cargo xtask test` runs it with the oldest and the newest that can be had.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{COPY, Project, ended, until};

/// One `kubectl`, pointed at one project.
struct Kubectl<'a> {
    program: &'a Path,
    project: &'a Project,
}

impl Kubectl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--kubeconfig").arg(self.project.state().join("kubeconfig")).args(arguments);
        // Its caches are in the project's folder too: each server is another.
        command.env("HOME", self.project.state()).env_remove("KUBECONFIG").stdin(Stdio::null());
        command
    }

    /// What it prints, once it is sure that all went well.
    #[track_caller]
    fn well(&self, arguments: &[&str]) -> String {
        let ended = ended(&mut self.command(arguments));
        assert!(ended.status.success(), "{} {arguments:?}: {ended:#?}", self.program.display());
        ended.out
    }

    /// What it complains of, once it is sure that it does.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let ended = ended(&mut self.command(arguments));
        assert!(!ended.status.success(), "{} {arguments:?}: {ended:#?}", self.program.display());
        ended.err
    }

    /// Runs it, and looks for words in what it prints.
    #[track_caller]
    fn says(&self, arguments: &[&str], words: &[&str]) {
        let out = self.well(arguments);
        for word in words {
            assert!(out.contains(word), "{} {arguments:?}: no {word:?} in\n{out}", self.program.display());
        }
    }
}

fn programs() -> Vec<PathBuf> {
    let named = std::env::var_os("VARVE_TEST_KUBECTLS").expect("VARVE_TEST_KUBECTLS names paths of kubectl");
    std::env::split_paths(&named).collect()
}

#[test]
#[ignore = "needs kubectl, see above"]
fn what_people_do_with_kubectl_works_with_the_oldest_and_the_newest() {
    for program in programs() {
        let project = Project::with(&COPY.replace("'cp ", "'echo copying; cp "));
        project.write("texts/amber", "resin\n");
        let mut dev = project.start();
        dev.until("the copy is there", |out, _| out.contains("copied: 1 file"));
        let kubectl = Kubectl { program: &program, project: &project };
        println!("{}", kubectl.well(&["version"]));
        looking(&kubectl);
        changing(&kubectl, &project);
        deleting(&kubectl);
        assert!(dev.stop().success());
    }
}

/// get, describe, explain, logs, events, wait.
fn looking(kubectl: &Kubectl) {
    until("the Pipeline has seen its Job's end", || kubectl.well(&["get", "vpipe"]).contains("UpToDate"));
    kubectl.says(&["get", "vrepo"], &["NAME", "READY", "BRANCH", "FILES", "texts", "copied"]);
    kubectl.says(
        &["get", "varve", "-o", "wide"],
        &["repo.varve.dev/texts", "pipeline.varve.dev/copied", "job.varve.dev/"],
    );
    kubectl.says(&["get", "vpipe", "copied", "-o", "jsonpath={.status.conditions[0].type}"], &["Ready"]);
    kubectl.says(&["get", "vpipe", "copied", "-o", "yaml"], &["kind: Pipeline", "resourceVersion:", "status:"]);
    kubectl.says(&["get", "vrepo", "--field-selector", "metadata.name=texts", "--no-headers"], &["texts"]);
    kubectl.says(&["describe", "vpipe", "copied"], &["Name:", "copied", "Conditions:", "Events:", "UpToDate"]);
    kubectl.says(&["explain", "vpipe.spec.inputs.glob"], &["Pipeline", "glob", "DESCRIPTION"]);
    kubectl.says(&["api-resources", "--api-group=varve.dev"], &["vrepo", "vcommit", "vpipe", "vjob"]);
    kubectl.says(&["get", "events"], &["Committed", "Succeeded"]);
    kubectl.says(&["wait", "--for=condition=Ready", "vpipe/copied", "--timeout=20s"], &["condition met"]);
    let pod = kubectl.well(&["get", "pods", "-o", "name"]);
    let pod = pod.lines().next().expect("the Job's pod is there");
    kubectl.says(&["logs", pod, "-c", "user"], &["copying"]);
    kubectl.says(&["logs", pod, "--all-containers", "--tail=1"], &["shard done"]);
    assert!(kubectl.refused(&["get", "vpipe", "nowhere"]).contains(r#"pipelines.varve.dev "nowhere" not found"#));
    kubectl.says(&["auth", "can-i", "create", "pipelines.varve.dev"], &["yes"]);
}

/// apply on both sides, diff, edit, patch, scale, label; and a watch beside them.
fn changing(kubectl: &Kubectl, project: &Project) {
    let file = project.state().join("extra.yaml");
    let path = file.to_str().expect("a temporary folder's name is UTF-8");
    let write = |description: &str| {
        let repo = format!(
            "apiVersion: varve.dev/v1alpha1\nkind: Repo\nmetadata: {{name: extra}}\nspec: {{description: {description}}}\n"
        );
        std::fs::write(&file, repo).unwrap();
    };
    let watched = project.state().join("watched");
    let mut watching = kubectl.command(&["get", "vrepo", "-w"]);
    let mut watching = watching.stdout(std::fs::File::create(&watched).unwrap()).spawn().unwrap();
    until("the watch shows what is there", || std::fs::read_to_string(&watched).unwrap().contains("texts"));

    write("one");
    kubectl.says(&["apply", "-f", path], &["repo.varve.dev/extra created"]);
    kubectl.says(&["apply", "-f", path], &["repo.varve.dev/extra unchanged"]);
    write("two");
    assert!(ended(&mut kubectl.command(&["diff", "-f", path])).out.contains("+  description: two"));
    kubectl.says(&["apply", "-f", path, "--dry-run=server"], &["extra configured (server dry run)"]);
    kubectl.says(&["get", "vrepo", "extra", "-o", "jsonpath={.spec.description}"], &["one"]);
    kubectl.says(&["apply", "-f", path], &["repo.varve.dev/extra configured"]);
    kubectl.says(&["apply", "--server-side", "--force-conflicts", "-f", path], &["extra serverside-applied"]);
    until("the watch shows what came", || std::fs::read_to_string(&watched).unwrap().contains("extra"));
    watching.kill().unwrap();
    watching.wait().unwrap();

    let mut edit = kubectl.command(&["edit", "vrepo", "extra"]);
    let edited = ended(edit.env("KUBE_EDITOR", "sed -i s/two/three/"));
    assert!(edited.well().contains("repo.varve.dev/extra edited"));
    kubectl.says(&["get", "vrepo", "extra", "-o", "jsonpath={.spec.description}"], &["three"]);
    let wrong = "apiVersion: varve.dev/v1alpha1\nkind: Repo\nmetadata: {name: extra}\nspec: {describtion: x}\n";
    std::fs::write(&file, wrong).unwrap();
    assert!(kubectl.refused(&["apply", "-f", path]).contains("describtion"));

    kubectl.says(&["scale", "vpipe", "copied", "--replicas=3"], &["copied scaled"]);
    kubectl.says(&["get", "vpipe", "copied", "-o", "jsonpath={.spec.parallelism}"], &["3"]);
    let merge = r#"{"spec":{"parallelism":2}}"#;
    kubectl.says(&["patch", "vpipe", "copied", "--type=merge", "-p", merge], &["copied patched"]);
    kubectl.says(&["label", "vpipe", "copied", "team=a"], &["copied labeled"]);
    kubectl.says(&["get", "vpipe", "-l", "team=a"], &["copied"]);
    kubectl.says(&["annotate", "vpipe", "copied", "note=b"], &["copied annotated"]);
    kubectl.says(&["create", "configmap", "words", "--from-literal=a=b"], &["configmap/words created"]);
    let strategic = r#"{"data":{"c":"d"}}"#;
    kubectl.says(&["patch", "configmap", "words", "-p", strategic], &["configmap/words patched"]);
    kubectl.says(&["get", "cm", "words", "-o", "jsonpath={.data}"], &["\"a\":\"b\"", "\"c\":\"d\""]);
}

/// delete, with and without a finalizer; whole namespaces.
fn deleting(kubectl: &Kubectl) {
    let hold = r#"[{"op":"add","path":"/metadata/finalizers","value":["example.com/hold"]}]"#;
    let release = r#"[{"op":"remove","path":"/metadata/finalizers"}]"#;
    kubectl.well(&["patch", "cm", "words", "--type=json", "-p", hold]);
    kubectl.says(&["delete", "cm", "words", "--wait=false"], &[r#"configmap "words" deleted"#]);
    kubectl.says(&["get", "cm", "words", "-o", "jsonpath={.metadata.deletionTimestamp}"], &["T"]);
    kubectl.well(&["patch", "cm", "words", "--type=json", "-p", release]);
    until("the ConfigMap is gone", || !ended(&mut kubectl.command(&["get", "cm", "words"])).status.success());
    kubectl.says(&["delete", "vpipe", "copied"], &["\"copied\" deleted"]);
    kubectl.well(&["create", "namespace", "lab"]);
    kubectl.well(&["create", "configmap", "words", "-n", "lab"]);
    kubectl.says(&["delete", "namespace", "lab"], &[r#"namespace "lab" deleted"#]);
    assert!(kubectl.refused(&["get", "cm", "words", "-n", "lab"]).contains("not found"));
}
