//! The variables that user code is given for one datum. Pure.

use std::collections::BTreeMap;

use varve_format::records::{PlanDatum, Task};

/// The variables, sorted by name.
///
/// Each input has its path under its own name and under the name it is mounted as; where one
/// input's name is another's mount, the name wins. An absent optional input has no path. The
/// `PACH_` names let images written for Pachyderm run unchanged.
pub(crate) fn variables(task: &Task, datum: &PlanDatum, pfs: &str) -> Vec<(String, String)> {
    let mut variables = BTreeMap::new();
    for input in &task.inputs {
        variables.insert(format!("{}_COMMIT", input.mount), input.commit.clone());
    }
    for member in datum.members.iter().rev().filter(|member| !member.absent) {
        variables.insert(member.mount.clone(), path_of(pfs, &member.mount, &member.path));
    }
    for input in &task.inputs {
        variables.insert(format!("{}_COMMIT", input.name), input.commit.clone());
    }
    for member in datum.members.iter().rev().filter(|member| !member.absent) {
        variables.insert(member.input.clone(), path_of(pfs, &member.mount, &member.path));
    }
    for (name, pachyderm, value) in [
        ("VARVE_DATUM_ID", "PACH_DATUM_ID", hex::encode(&datum.hash)),
        ("VARVE_JOB", "PACH_JOB_ID", task.job_name.clone()),
        ("VARVE_OUTPUT_COMMIT", "PACH_OUTPUT_COMMIT_ID", task.output_commit.clone()),
    ] {
        variables.insert(name.into(), value.clone());
        variables.insert(pachyderm.into(), value);
    }
    variables.into_iter().collect()
}

fn path_of(pfs: &str, mount: &str, path: &str) -> String {
    if path.is_empty() { format!("{pfs}/{mount}") } else { format!("{pfs}/{mount}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_format::records::{PlanMember, TaskInput};

    fn member(input: &str, mount: &str, path: &str) -> PlanMember {
        PlanMember { input: input.into(), mount: mount.into(), path: path.into(), ..PlanMember::default() }
    }

    #[test]
    fn every_input_has_its_path_and_commit_and_the_run_its_ids() {
        let task = Task {
            job_name: "edges-k3".into(),
            output_commit: "0190-out".into(),
            inputs: vec![
                TaskInput { name: "images".into(), mount: "photos".into(), commit: "0190-a".into() },
                TaskInput { name: "rates".into(), mount: "rates".into(), commit: "0190-b".into() },
                TaskInput { name: "masks".into(), mount: "masks".into(), commit: "0190-c".into() },
            ],
            ..Task::default()
        };
        let absent = PlanMember { absent: true, ..member("masks", "masks", "") };
        let datum = PlanDatum {
            hash: vec![0xab; 2],
            members: vec![member("images", "photos", "2026/a b.png"), absent, member("rates", "rates", "")],
            ..PlanDatum::default()
        };
        let variables = variables(&task, &datum, "/pfs");
        let expected = [
            ("PACH_DATUM_ID", "abab"),
            ("PACH_JOB_ID", "edges-k3"),
            ("PACH_OUTPUT_COMMIT_ID", "0190-out"),
            ("VARVE_DATUM_ID", "abab"),
            ("VARVE_JOB", "edges-k3"),
            ("VARVE_OUTPUT_COMMIT", "0190-out"),
            ("images", "/pfs/photos/2026/a b.png"),
            ("images_COMMIT", "0190-a"),
            ("masks_COMMIT", "0190-c"),
            ("photos", "/pfs/photos/2026/a b.png"),
            ("photos_COMMIT", "0190-a"),
            ("rates", "/pfs/rates"),
            ("rates_COMMIT", "0190-b"),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
