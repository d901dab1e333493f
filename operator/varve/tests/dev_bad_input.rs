//! What `varve dev` says to users in a hurry: each is told what is wrong, where, and what to do.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use common::{COPY, Project, bare_dev, ended};

fn copying() -> Project {
    let project = Project::with(COPY);
    project.write("texts/amber", "resin\n");
    project
}

#[test]
fn a_path_that_is_not_there_is_named_and_not_made() {
    let root = tempfile::tempdir().unwrap();
    for name in ["folder", "file.yaml"] {
        let missing = root.path().join(name);
        let ended = ended(bare_dev().arg(&missing).arg("--once"));
        let wanted = format!("varve dev: {} is not there: name YAML files, or folders of them\n", missing.display());
        assert_eq!(ended.badly(), wanted);
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_without_objects_is_named() {
    let project = Project::with("# nothing yet\n");
    let wanted = format!(
        "refused: nothing to apply: no file of {} that ends in .yaml, .yml or .json has an object in it\n",
        project.files().display()
    );
    assert_eq!(project.once().badly(), wanted);
}

#[test]
fn a_file_that_is_no_yaml_is_named_with_the_line_and_the_others_are_applied() {
    let project = copying();
    project.write("broken.yaml", "kind: [\n");
    let ended = project.once();
    let refused = format!("refused: {}: this is no YAML: ", project.files().join("broken.yaml").display());
    assert!(ended.badly().starts_with(&refused) && ended.err.contains("line 2"), "{}", ended.err);
    assert!(ended.out.contains("copied: 1 file, 6 B"), "{}", ended.out);
}

#[test]
fn what_an_api_server_would_refuse_is_refused_in_its_words() {
    let wrong = COPY.replace("glob: /*", "glob: 7").replace("container:", "paralellism: 2\n  container:");
    let project = Project::with(&wrong);
    project.write("texts/amber", "resin\n");
    let wanted = format!(
        "refused: {}, document 2: failed to create typed patch object (default/copied; varve.dev/v1alpha1, \
         Kind=Pipeline): errors:\n  .spec.inputs[name=\"texts\"].glob: expected string, got \
         &value.valueUnstructured{{Value:7}}\n  .spec.paralellism: field not declared in schema\n",
        project.files().join("all.yaml").display()
    );
    assert_eq!(project.once().badly(), wanted);
}

#[test]
fn an_object_without_a_name_and_a_kind_that_is_not_served_are_told() {
    let project = copying();
    project.write("more.yaml", "kind: Repo\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");
    let file = project.files().join("more.yaml");
    let wanted = format!(
        "refused: {file}, document 1: an object must have apiVersion, kind and metadata.name\n\
         refused: {file}, document 2: Deployment of apps/v1 is not served by varve dev, which is no cluster: leave it \
         out here, and apply it on one\n",
        file = file.display()
    );
    assert_eq!(project.once().badly(), wanted);
}

#[test]
fn a_folder_that_is_not_there_is_told_and_committed_once_it_is() {
    let project = Project::with(COPY);
    let wanted = format!(
        "{}: Repo texts: annotation varve.dev/folder: {} is not there, or no folder: make it, or correct the \
         annotation, which counts from the file it stands in\n",
        project.files().join("all.yaml").display(),
        project.files().join("texts").display()
    );
    assert_eq!(project.once().badly(), format!("refused: {wanted}"));
    let mut dev = project.start();
    dev.until("the folder is missed", |_, err| err.contains(&wanted));
    project.write("texts/amber", "resin\n");
    dev.until("what is in it has been copied", |out, _| out.contains("copied: 1 file, 6 B"));
    assert!(dev.stop().success());
}

#[test]
fn files_that_go_while_nobody_looks_are_deleted_at_the_next_start() {
    let project = copying();
    project.write("texts/birch", "bark\n");
    assert!(project.once().well().contains("copied: 2 files, 11 B"));
    fs::remove_file(project.files().join("texts/amber")).unwrap();
    fs::remove_file(project.files().join("texts/birch")).unwrap();
    let ended = project.once();
    assert!(ended.well().contains("2 removed") && ended.out.contains("copied: 0 files, 0 B"), "{}", ended.out);
}

#[test]
fn a_second_varve_dev_on_one_state_is_refused_and_the_first_goes_on() {
    let project = copying();
    let mut first = project.start();
    first.until_it_serves();
    let second = project.once();
    assert!(second.badly().starts_with("varve dev: another varve dev (process "), "{}", second.err);
    assert!(second.err.ends_with(": stop it, or give this one a folder of its own by --state\n"), "{}", second.err);
    first.until("the first comes to its end", |out, _| out.contains("copied: 1 file, 6 B"));
    assert!(first.stop().success());
}

#[test]
fn a_state_of_a_newer_version_is_left_alone() {
    let project = copying();
    fs::create_dir(project.state()).unwrap();
    fs::write(project.state().join("version"), "2\n").unwrap();
    let ended = project.once();
    assert!(ended.badly().contains("is of version 2 and this varve knows 1: use a newer varve"), "{}", ended.err);
    assert!(!project.state().join("objects").exists());
}

#[test]
fn a_state_that_is_a_file_is_named() {
    let project = copying();
    fs::write(project.state(), "").unwrap();
    let wanted = format!("varve dev: make state folder {}: File exists (os error 17)\n", project.state().display());
    assert_eq!(project.once().badly(), wanted);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = ended(&mut copying().dev(&["--once", "--port", &port]));
    assert!(ended.badly().starts_with(&format!("varve dev: port {port} of 127.0.0.1 can't be had: ")), "{}", ended.err);
    assert!(ended.err.ends_with(": name another by --port, or none to take any that is free\n"), "{}", ended.err);
}

#[test]
fn an_engine_that_is_not_there_is_named_with_the_way_that_needs_none() {
    let project = copying();
    let mut dev = bare_dev();
    dev.arg(project.files()).arg("--state").arg(project.state()).args(["--once", "--runner", "docker"]);
    let ended = ended(dev.env("PATH", ""));
    assert_eq!(
        ended.badly(),
        "varve dev: --runner docker can't be used: there is no program docker on PATH: install it; or choose --runner \
         process, which needs no engine and uses no image\n"
    );
}

/// On a disk of their own, which goes with the shell that mounts it.
#[test]
fn a_full_disk_ends_it_with_a_word_and_what_was_done_is_there_when_there_is_room_again() {
    let in_namespace = |script: &str| {
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-ec", script]);
        shell
    };
    if !in_namespace("mount -t tmpfs none /mnt").output().is_ok_and(|tried| tried.status.success()) {
        println!("skipped: nothing may be mounted here");
        return;
    }
    let project = copying();
    fs::create_dir(project.state()).unwrap();
    let dev = project.dev(&["--once"]);
    let arguments = std::iter::once(dev.get_program()).chain(dev.get_args());
    let shown: Vec<String> = arguments.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let (state, dev) = (project.state().display().to_string(), shown.join(" "));
    let large = project.files().join("texts/large");
    let ended = ended(&mut in_namespace(&format!(
        "mount -t tmpfs -o size=64m none '{state}'; {dev}
         head -c 10000000 /dev/urandom >'{large}'
         dd if=/dev/zero of='{state}/ballast' bs=64k 2>/dev/null || true
         if {dev}; then echo 'it began on a full disk'; exit 1; fi
         truncate -s -5000000 '{state}/ballast'
         if {dev}; then echo 'it found room for twice as much as there is'; exit 1; fi
         rm '{state}/ballast'; {dev}",
        large = large.display(),
    )));
    assert!(ended.well().contains("copied: 2 files, 9.5 MiB"), "{ended:#?}");
    let told: Vec<&str> = ended.err.lines().collect();
    let full = "No space left on device (os error 28)";
    assert!(told[0].starts_with("varve dev: ") && told[0].contains(full), "{}", ended.err);
    assert!(told[0].ends_with(": make room there and start again"), "{}", ended.err);
    assert!(told[1].starts_with("refused: ") && told[1].contains(full), "{}", ended.err);
}

#[test]
fn a_job_that_finds_no_room_waits_and_says_for_what() {
    let wish = "container: {resources: {limits: {nvidia.com/gpu: 1}},";
    let project = Project::with(&COPY.replace("container: {", wish));
    project.write("texts/amber", "resin\n");
    let ended = project.once();
    assert!(ended.badly().starts_with("not well: Job copied-"), "{}", ended.err);
    assert!(
        ended.err.contains(": Unschedulable: 1 pod waits for a node, 0 run: no node has enough nvidia.com/gpu left"),
        "{}",
        ended.err
    );
}

/// By a limit on the size of files, which stands for a disk without room; without the trap, the system ends who passes it.
#[test]
fn objects_that_can_not_be_written_end_it_and_are_applied_when_they_can() {
    let project = copying();
    project.once().well();
    for number in 0..8 {
        let data = "x".repeat(900_000);
        let yaml = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\ndata: {{x: {data}}}\n");
        project.write(&format!("c{number}.yaml"), &yaml);
    }
    let dev = project.dev(&["--once"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"]).arg(dev.get_program()).args(dev.get_args());
    let refused = ended(&mut limited);
    let wanted = format!("varve dev: write the objects in {}: ", project.state().canonicalize().unwrap().display());
    assert!(refused.badly().lines().any(|line| line.starts_with(&wanted)), "{}", refused.err);
    assert!(
        refused.err.ends_with(": make room there and start again; what was told as done is kept\n"),
        "{}",
        refused.err
    );
    project.once().well();
}
