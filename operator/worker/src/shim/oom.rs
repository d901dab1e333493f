//! The container's count of out-of-memory kills, by which a kill that a shell swallowed shows.

use std::fs;
use std::path::Path;

/// The files that hold the count, cgroup v2 first, then v1; both below the cgroup root.
const FILES: [&str; 2] = ["memory.events", "memory/memory.oom_control"];

/// How many processes of this container the kernel has killed for lack of memory; 0 where it
/// does not say.
pub(super) fn kills(cgroup: &Path) -> u64 {
    FILES.iter().find_map(|file| parse(&fs::read_to_string(cgroup.join(file)).ok()?)).unwrap_or(0)
}

fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_kernels_file_are_read() {
        assert_eq!(parse("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
    }

    #[test]
    fn a_kernel_that_does_not_say_counts_none() {
        assert_eq!(kills(Path::new("/nonexistent/cgroup")), 0);
    }
}
