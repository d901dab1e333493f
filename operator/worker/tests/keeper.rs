//! The real keeper and the real shim, as processes, over a store in a folder.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use common::{Pod, Users, World, is_root, kill, lines, until, wait};
use rustix::process::Signal;
use varve_format::records::{DatumResult, ResultState};

/// Begins a script in the folder for its output; `$pfs` is what `/pfs` is in a real pod.
const IN_OUT: &str = r#"pfs=${photos%%/photos*}; cd "$pfs/out";"#;

fn texts<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, String> {
    files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

fn states(results: &[DatumResult]) -> Vec<(ResultState, u32, &str)> {
    results.iter().map(|result| (result.state(), result.tries, result.reason.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_datum_sees_its_own_inputs_and_leaves_its_output_in_the_store() {
    let mut world = World::with(&[("a.txt", "one"), ("deep/b.txt", "two"), ("deep/c.txt", "three")]).await;
    let script = format!(
        r#"set -e; {IN_OUT} find "$pfs/photos" -type f | wc -l; stat -c %a "$photos"
           echo "$VARVE_DATUM_ID $PACH_DATUM_ID $VARVE_JOB $VARVE_OUTPUT_COMMIT $images_COMMIT ${{photos#$pfs/}}"
           cp "$photos" "copy-$(basename "$photos")"; printf '#!' > tool; chmod 700 tool; mkdir empty"#
    );
    let task = World::task(&script);
    world.plan(task, &["a.txt", "deep/b.txt", "deep/c.txt"]).await;
    let pod = world.pod();
    let words = {
        let log = pod.termination_log.clone();
        let codes = pod.ended();
        assert_eq!(codes, (Some(0), Some(0)));
        fs::read_to_string(log).unwrap()
    };
    assert!(words.contains(r#""reason":"Done""#) && words.contains(r#""recorded":3,"left":0"#), "{words}");
    let finished = world.finished().await;
    assert_eq!(finished.len(), 3);
    let b = &finished["deep/b.txt"];
    assert_eq!((b.state(), b.tries, b.exit_code, b.reason.as_str()), (ResultState::Succeeded, 1, Some(0), ""));
    assert_eq!((b.node.as_str(), b.devices.as_slice()), ("node-7", ["gpu-3".to_owned()].as_slice()));
    assert_eq!(world.output(b).await, texts([("copy-b.txt", "two"), ("tool", "*#!")]));
    let id = hex::encode(&b.hash);
    let log = world.log(b).await;
    assert_eq!(log, format!("1\n444\n{id} {id} edges-k3 commit-of-edges commit-of-images photos/deep/b.txt\n"));
    assert_eq!(b.tail, log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_try_is_recorded_and_the_datum_tried_again_until_it_succeeds() {
    let mut world = World::with(&[("a", "1"), ("b", "2")]).await;
    let task = World::task(
        r#"echo "$photos" >> "$TEST/runs"; [ "$(grep -c /a$ "$TEST/runs")" -ge 2 ] || case "$photos" in */a) echo broken; exit 9;; esac"#,
    );
    world.plan(task, &["a", "b"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let results: Vec<_> = world.results().await.into_iter().filter(|result| result.key == b"a").collect();
    assert_eq!(states(&results), [(ResultState::TryFailed, 1, "ExitCode"), (ResultState::Succeeded, 2, "")]);
    assert_eq!(results[0].tail, "broken\n[varve: the command exited with code 9]\n");
    let order: Vec<_> =
        lines(&world.path("runs")).iter().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(order, ["a", "b", "a"], "another datum runs during the pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datum_that_fails_to_its_last_try_is_a_result_and_no_failed_pod() {
    let mut world = World::with(&[("a", "1")]).await;
    let mut task = World::task("exit 9");
    task.tries = 2;
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::TryFailed, 1, "ExitCode"), (ResultState::Failed, 2, "ExitCode")]);
    assert_eq!((results[1].exit_code, results[1].output.is_none()), (Some(9), true));
    // Another pod finds nothing to do and says so at once.
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    assert_eq!(world.results().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_exit_codes_succeed_and_a_missing_command_fails_at_once() {
    let mut world = World::with(&[("a", "1")]).await;
    let mut task = World::task("exit 9");
    task.accept_exit_codes = vec![9];
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    assert_eq!(states(&world.results().await), [(ResultState::Succeeded, 1, "")]);

    let mut world = World::with(&[("a", "1")]).await;
    let mut task = World::task("");
    task.argv = vec!["no-such-program".into()];
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::Failed, 1, "CommandNotFound")]);
    assert_eq!(results[0].exit_code, Some(127));
    assert!(results[0].tail.contains("no-such-program"), "{}", results[0].tail);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_and_memory_kills_fail_the_datum_with_their_reason() {
    let mut world = World::with(&[("a", "1")]).await;
    let mut task = World::task("echo begun; while :; do sleep 0.01; done");
    (task.tries, task.timeout_seconds) = (1, 1);
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::Failed, 1, "TimedOut")]);
    let told = "begun\n[varve: the command ran longer than datum.timeoutSeconds, 1 s; it was running: ";
    assert!(results[0].tail.starts_with(told) && results[0].tail.contains("sh -c echo begun;"), "{}", results[0].tail);

    let mut world = World::with(&[("a", "1")]).await;
    fs::create_dir(world.path("cgroup")).unwrap();
    fs::write(world.path("cgroup/memory.events"), "oom_kill 0\n").unwrap();
    fs::write(world.path("cgroup/memory.peak"), "66060288\n").unwrap();
    fs::write(world.path("cgroup/memory.max"), "67108864\n").unwrap();
    let mut task = World::task(r#"echo "oom_kill 1" > "$TEST/cgroup/memory.events"; exit 0"#);
    task.tries = 1;
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::Failed, 1, "OutOfMemory")]);
    assert!(results[0].tail.contains("lack of memory: 63 MiB were in use at most, of 64 MiB]"), "{}", results[0].tail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_killed_while_a_datum_runs_costs_that_datum_a_try_and_nothing_else() {
    let mut world = World::with(&[("a", "1"), ("b", "2")]).await;
    let task = World::task(
        r#"echo "$photos" >> "$TEST/runs"; case "$photos" in */b) [ -e "$TEST/again" ] || { touch "$TEST/running"; while [ -d "$TEST" ] && [ ! -e "$TEST/again" ]; do sleep 0.01; done; exit 1; };; esac"#,
    );
    world.plan(task, &["a", "b"]).await;
    let pod = world.pod();
    until("b runs", || world.path("running").exists());
    kill(&pod.shim, Signal::KILL);
    let log = pod.termination_log.clone();
    assert_eq!(pod.ended(), (Some(44), None));
    assert!(fs::read_to_string(log).unwrap().contains("ContainerLost"));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::Succeeded, 1, ""), (ResultState::TryFailed, 1, "ContainerLost")]);
    fs::write(world.path("again"), "").unwrap();
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!((finished["a"].tries, finished["b"].tries), (1, 2));
    assert_eq!(lines(&world.path("runs")).len(), 3, "a ran once, b twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_is_killed_and_started_again_goes_on_in_its_pod_and_finds_nothing_of_the_killed_run() {
    assert!(is_root(), "only root may run as others: run the tests as root");
    let mut world = World::with(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    world.restarts_in_place = true;
    fs::set_permissions(world.root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!(
        r#"{IN_OUT} echo "$photos" >> "$TEST/runs"; found=$(ls -A); echo "$found" > found; cp "$photos" .
           case "$photos" in */b) [ -e "$TEST/again" ] || {{ umask 077; mkdir -p closed/deep; echo half > closed/deep/half; chmod 0 closed/deep closed;
             touch "$TEST/running"; while [ -d "$TEST" ] && [ ! -e "$TEST/again" ]; do sleep 0.01; done; exit 1; }};; esac"#
    );
    world.plan(World::task(&script), &["a", "b", "c"]).await;
    let mut pod = Pod::start(&world, Users { keeper: Some(65_532), shim: Some(12_345) });
    until("b runs", || world.path("running").exists());
    pod.kill_shim();
    fs::write(world.path("again"), "").unwrap();
    pod.start_shim_again(&world);
    let words = pod.termination_log.clone();
    let volume = pod.volume.clone();
    assert_eq!(pod.ended(), (Some(0), Some(0)));
    assert!(fs::read_to_string(words).unwrap().contains(r#""recorded":3,"left":0"#));
    assert_eq!(fs::read_dir(volume.join("pfs/out")).unwrap().count(), 0);
    let results = world.results().await;
    let of_b: Vec<_> = results.iter().filter(|result| result.key == b"b").cloned().collect();
    assert_eq!(states(&of_b), [(ResultState::TryFailed, 1, "ContainerLost"), (ResultState::Succeeded, 2, "")]);
    assert_eq!(results.len(), 4, "each datum ends once, and b was tried twice");
    let finished = world.finished().await;
    for (name, text) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(world.output(&finished[name]).await, texts([(name, text), ("found", "\n")]));
    }
    let runs = lines(&world.path("runs"));
    let of = |name: &str| runs.iter().filter(|run| run.ends_with(name)).count();
    assert_eq!((of("/a"), of("/b"), of("/c")), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datum_whose_last_try_is_killed_fails_and_its_pod_ends_well() {
    let mut world = World::with(&[("a", "1")]).await;
    world.restarts_in_place = true;
    fs::create_dir(world.path("cgroup")).unwrap();
    fs::write(world.path("cgroup/memory.max"), "67108864\n").unwrap();
    let mut task = World::task(r#"touch "$TEST/running"; while [ -d "$TEST" ]; do sleep 0.01; done"#);
    task.tries = 1;
    world.plan(task, &["a"]).await;
    let mut pod = world.pod();
    until("a runs", || world.path("running").exists());
    pod.kill_shim();
    pod.start_shim_again(&world);
    assert_eq!(pod.ended(), (Some(0), Some(0)));
    let results = world.results().await;
    assert_eq!(states(&results), [(ResultState::Failed, 1, "ContainerLost")]);
    assert!(results[0].tail.contains("it ran out of its 64 MiB of memory, or"), "{}", results[0].tail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_killed_while_nothing_runs_costs_no_datum_its_last_try() {
    let mut world = World::with(&[("a", "1")]).await;
    world.restarts_in_place = true;
    let mut task = World::task(r#"echo x >> "$TEST/tries"; [ $(wc -l < "$TEST/tries") = 3 ] || exit 9"#);
    task.tries = 3;
    world.plan(task, &["a"]).await;
    let mut pod = world.pod();
    until("a waits two seconds for its last try", || {
        fs::read_to_string(&pod.log).unwrap().matches("try failed").count() == 2
    });
    pod.kill_shim();
    pod.start_shim_again(&world);
    assert_eq!(pod.ended(), (Some(0), Some(0)));
    assert_eq!(world.finished().await["a"].state(), ResultState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_kill_in_a_row_ends_the_pod_and_whoever_comes_back_then_finds_nobody() {
    let names = ["a", "b", "c", "d", "e"];
    let mut world = World::with(&names.map(|name| (name, name))).await;
    world.restarts_in_place = true;
    let mut task = World::task(
        r#"[ -e "$TEST/again" ] || { touch "$TEST/${photos##*/}-runs"; while [ -d "$TEST" ] && [ ! -e "$TEST/again" ]; do sleep 0.01; done; exit 1; }"#,
    );
    task.tries = 1;
    world.plan(task, &names).await;
    let mut pod = world.pod();
    for name in &names[..4] {
        until("it runs", || world.path(&format!("{name}-runs")).exists());
        pod.kill_shim();
        if *name != "d" {
            pod.start_shim_again(&world);
        }
    }
    assert_eq!(wait(&mut pod.keeper), Some(44));
    assert_eq!((pod.last_words().reason.as_str(), pod.last_words().left), ("ContainerLost", Some(1)));
    pod.start_shim_again(&world);
    assert_eq!(wait(&mut pod.shim), Some(43));
    fs::write(world.path("again"), "").unwrap();
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let ends = world.finished().await.into_values().map(|result| (result.state(), result.tries)).collect::<Vec<_>>();
    let failed = (ResultState::Failed, 1);
    assert_eq!(ends, [failed, failed, failed, failed, (ResultState::Succeeded, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_nobody_starts_again_is_waited_for_until_the_deadline() {
    let mut world = World::with(&[("a", "1")]).await;
    (world.restarts_in_place, world.first_contact) = (true, Duration::from_secs(5));
    world.plan(World::task(r#"touch "$TEST/running"; while [ -d "$TEST" ]; do sleep 0.01; done"#), &["a"]).await;
    let mut pod = world.pod();
    until("a runs", || world.path("running").exists());
    pod.kill_shim();
    assert_eq!(wait(&mut pod.keeper), Some(44));
    let words = pod.last_words();
    assert_eq!((words.reason.as_str(), words.left), ("ContainerLost", Some(1)));
    assert!(words.message.contains("did not make contact within 5 s"), "{}", words.message);
    assert_eq!(states(&world.results().await), [(ResultState::TryFailed, 1, "ContainerLost")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_shim_is_waited_for_leaves_the_work_to_another_pod() {
    let mut world = World::with(&[("a", "1")]).await;
    world.restarts_in_place = true;
    world.plan(World::task(r#"touch "$TEST/running"; while [ -d "$TEST" ]; do sleep 0.01; done"#), &["a"]).await;
    let mut pod = world.pod();
    until("a runs", || world.path("running").exists());
    pod.kill_shim();
    until("it is waited for", || fs::read_to_string(&pod.log).unwrap().contains("is waited for"));
    kill(&pod.keeper, Signal::TERM);
    assert_eq!(wait(&mut pod.keeper), Some(75));
    assert_eq!(states(&world.results().await), [(ResultState::TryFailed, 1, "ContainerLost")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_keeper_takes_the_shim_with_it_and_the_next_pod_goes_on_where_it_was() {
    let mut world = World::with(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let task = World::task(
        r#"echo "$photos" >> "$TEST/runs"; case "$photos" in */b) [ -e "$TEST/again" ] || { echo $$ > "$TEST/running"; while [ -d "$TEST" ] && [ ! -e "$TEST/again" ]; do sleep 0.01; done; exit 1; };; esac"#,
    );
    world.plan(task, &["a", "b", "c"]).await;
    let pod = world.pod();
    let store = world.store.clone();
    let job = world.job_uid;
    until("b runs", || world.path("running").exists());
    loop {
        if !store.list_results(job).await.unwrap().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    kill(&pod.keeper, Signal::KILL);
    assert_eq!(pod.ended(), (None, Some(43)));
    fs::write(world.path("again"), "").unwrap();
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!(finished.values().map(|result| result.tries).collect::<Vec<_>>(), [1, 1, 1], "no try was used");
    let runs = lines(&world.path("runs"));
    let of = |name: &str| runs.iter().filter(|run| run.ends_with(name)).count();
    assert_eq!((of("/a"), of("/b"), of("/c")), (1, 2, 1), "what was recorded did not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_records_what_is_finished_uses_no_try_and_leaves_work() {
    let mut world = World::with(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let task = World::task(
        r#"case "$photos" in */b) [ -e "$TEST/again" ] || { touch "$TEST/running"; while [ -d "$TEST" ] && [ ! -e "$TEST/again" ]; do sleep 0.01; done; exit 1; };; esac"#,
    );
    world.plan(task, &["a", "b", "c"]).await;
    let pod = world.pod();
    until("b runs", || world.path("running").exists());
    pod.signal_both(Signal::TERM);
    let log = pod.termination_log.clone();
    assert_eq!(pod.ended(), (Some(75), Some(75)));
    let words = fs::read_to_string(log).unwrap();
    assert!(words.contains(r#""reason":"Stopped""#) && words.contains(r#""recorded":1,"left":2"#), "{words}");
    assert_eq!(states(&world.results().await), [(ResultState::Succeeded, 1, "")]);
    fs::write(world.path("again"), "").unwrap();
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    assert!(world.finished().await.values().all(|result| result.tries == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_inside_the_output_are_kept_and_links_to_inputs_become_what_they_lead_to() {
    let mut world = World::with(&[("d/x.txt", "input x"), ("d/y/z.txt", "input z")]).await;
    let script = format!(
        r#"{IN_OUT} mkdir -p sub; echo made > sub/made; ln -s made sub/near; ln -s "$pfs/out/sub/made" absolute;
           ln -s sub loop-free; ln -s ../photos/d/x.txt from-input; ln -s "$photos/y" folder; ln -s from-input chained"#
    );
    let task = World::task(&script);
    world.plan(task, &["d"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!(finished["d"].reason, "", "{}", finished["d"].tail);
    let expected = texts([
        ("absolute", "-> sub/made"),
        ("chained", "input x"),
        ("folder/z.txt", "input z"),
        ("from-input", "input x"),
        ("loop-free", "-> sub"),
        ("sub/made", "made\n"),
        ("sub/near", "-> made"),
    ]);
    assert_eq!(world.output(&finished["d"]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_repo_can_hold_fails_the_datum_and_is_named() {
    let cases: &[(&str, &str, &str)] = &[
        ("ln -s nothing dangling", "dangling", "leads to nothing"),
        ("ln -s /etc/passwd escaping", "escaping", "leads out of"),
        ("ln -s ../../../../../../etc/passwd climbing", "climbing", "leads out of"),
        ("ln -s b a; ln -s a b", "out/", "round in a circle"),
        ("mkdir d; mkfifo d/pipe", "d/pipe", "a FIFO"),
        (r#"touch "$(printf 'bad\377name')""#, r"out/bad\xffname", "UTF-8"),
        (r#"mkfifo "$(printf 'two\nlines')""#, r"out/two\nlines can't be used", "a FIFO"),
        (r#"ln -s "$(printf 'two\nlines')" link"#, "out/link", r"to two\nlines leads to nothing"),
        ("cd ..; rm -r out; ln -s /etc out", "out", "no directory"),
    ];
    let device = ("mknod null c 1 3", "null", "a device");
    for (script, name, why) in cases.iter().chain(is_root().then_some(&device)) {
        let mut world = World::with(&[("a", "1")]).await;
        let task = World::task(&format!("{IN_OUT} {script}"));
        world.plan(task, &["a"]).await;
        assert_eq!(world.pod().ended(), (Some(0), Some(0)), "{script}");
        let results = world.results().await;
        assert_eq!(states(&results), [(ResultState::Failed, 1, "OutputUnusable")], "{script}");
        let tail = &results[0].tail;
        assert!(tail.contains(name) && tail.contains(why), "{script}: {tail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_user_code_closes_to_itself_are_taken_all_the_same() {
    let mut world = World::with(&[("d/x", "1"), ("e/x", "2")]).await;
    fs::set_permissions(world.root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script =
        format!(r#"{IN_OUT} cat "$photos/x" > made; chmod 555 .; chmod -R a-w "$pfs/photos"; chmod a-w "$pfs""#);
    world.plan(World::task(&script), &["d", "e"]).await;
    // One user for both, as in a pod, and not root, who may write everywhere.
    let users = if is_root() { Users { keeper: Some(65_532), shim: Some(65_532) } } else { Users::default() };
    assert_eq!(Pod::start(&world, users).ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!(finished["e"].reason, "", "{}", finished["e"].tail);
    assert_eq!(world.output(&finished["d"]).await, texts([("made", "1")]));
    assert_eq!(world.output(&finished["e"]).await, texts([("made", "2")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_stops_the_shim_uses_up_its_tries() {
    let mut world = World::with(&[("a", "1")]).await;
    let mut task = World::task(r#"kill $PPID; while [ -d "$TEST" ]; do sleep 0.01; done"#);
    task.tries = 1;
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended().0, Some(44));
    assert_eq!(states(&world.results().await), [(ResultState::Failed, 1, "ContainerLost")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_whose_path_no_call_could_name_whole_is_staged() {
    // Legal in a repo, and too long for the system together with the folder that it is staged in.
    let long = [(); 20].map(|()| "n".repeat(203)).join("/");
    let mut world = World::with(&[(&long, "1"), ("z", "2")]).await;
    world.plan(World::task("true"), &[&long, "z"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    for datum in [long.as_str(), "z"] {
        assert_eq!(finished[datum].state(), ResultState::Succeeded, "{}", finished[datum].tail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeper_and_user_may_be_different_users_and_outputs_closed_to_others_still_arrive() {
    assert!(is_root(), "only root may run as others: run the tests as root");
    let mut world = World::with(&[("a", "1"), ("b", "2")]).await;
    fs::set_permissions(world.root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!(
        "{IN_OUT} umask 077; id -u > who; mkdir -p closed/deep; cat $photos > closed/deep/file; chmod 0 closed/deep/file closed/deep closed; cat $photos"
    );
    let task = World::task(&script);
    world.plan(task, &["a", "b"]).await;
    let users = Users { keeper: Some(65_532), shim: Some(12_345) };
    assert_eq!(Pod::start(&world, users).ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!(finished["b"].reason, "", "{}", finished["b"].tail);
    assert_eq!(world.output(&finished["b"]).await, texts([("closed/deep/file", "2"), ("who", "12345\n")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_changed_by_one_try_are_fresh_for_the_next() {
    let mut world = World::with(&[("a", "fresh")]).await;
    let task = World::task(
        r#"cat "$photos"; chmod 666 "$photos"; printf spoilt > "$photos"; [ -e "$TEST/second" ] || { touch "$TEST/second"; exit 1; }"#,
    );
    world.plan(task, &["a"]).await;
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    assert_eq!(world.finished().await["a"].tail, "fresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_not_there_ends_the_job_and_an_input_that_is_lost_ends_the_shard() {
    let mut world = World::with(&[("a", "1")]).await;
    world.plan = Some(varve_format::Hash::of_content(b"no plan"));
    let mut pod = world.pod();
    assert_eq!(wait(&mut pod.keeper), Some(41));
    assert_eq!(pod.last_words().reason, "PlanUnusable");
    pod.shim.kill().unwrap();
    pod.shim.wait().unwrap();

    let big = "a line\n".repeat(100_000);
    let mut world = World::with(&[("a", &big)]).await;
    let task = World::task("true");
    world.plan(task, &["a"]).await;
    fs::remove_dir_all(world.path("bucket/v1/data")).unwrap();
    let mut pod = world.pod();
    assert_eq!(wait(&mut pod.keeper), Some(40));
    assert_eq!(pod.last_words().reason, "InputUnreadable");
    assert_eq!(wait(&mut pod.shim), Some(75));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_a_while_loses_nothing_and_holds_no_run_up() {
    let mut world = World::with(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let script = format!(
        r#"{IN_OUT} echo "$photos" >> "$TEST/runs"; cp "$photos" .
           case "$photos" in */b) touch "$TEST/running"; while [ -d "$TEST" ] && [ ! -e "$TEST/broken" ]; do sleep 0.01; done;; esac"#
    );
    world.plan(World::task(&script), &["a", "b", "c"]).await;
    let pod = world.pod();
    until("b runs", || world.path("running").exists());
    let areas = ["data", "meta", "jobs"].map(|area| world.path("bucket/v1").join(area));
    for area in &areas {
        // A file where a folder must be: every write below it fails.
        let _ = fs::rename(area, area.with_extension("away"));
        fs::write(area, "").unwrap();
    }
    fs::write(world.path("broken"), "").unwrap();
    until("the failure shows", || fs::read_to_string(&pod.log).unwrap().contains("recording failed"));
    until("all have run", || lines(&world.path("runs")).len() == 3);
    for area in &areas {
        fs::remove_file(area).unwrap();
        let _ = fs::rename(area.with_extension("away"), area);
    }
    assert_eq!(pod.ended(), (Some(0), Some(0)));
    let finished = world.finished().await;
    assert_eq!(finished.values().map(|result| result.tries).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(world.output(&finished["b"]).await, texts([("b", "2")]));
    assert_eq!(lines(&world.path("runs")).len(), 3, "nothing ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tiny_datums_run_once_each() {
    let names: Vec<String> = (0..1000).map(|number| format!("f{number:04}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let mut world = World::with(&files).await;
    let task = World::task(r#"read -r x < "$photos"; echo "$x" > "${photos%%/photos*}/out/$x""#);
    world.plan(task, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let start = Instant::now();
    assert_eq!(world.pod().ended(), (Some(0), Some(0)));
    let seconds = start.elapsed().as_secs_f64();
    println!("1000 tiny datums in {seconds:.1} s: {:.0} a second", 1000.0 / seconds);
    let finished = world.finished().await;
    assert_eq!(finished.len(), 1000);
    assert!(finished.values().all(|result| result.state() == ResultState::Succeeded && result.tries == 1));
}
