//! The container's count of out-of-memory kills, by which a kill that a shell swallowed shows, and how much it used.

use std::fs;
use std::path::Path;

use crate::protocol::Memory;

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

/// The files that hold the most memory ever used, and the limit; v2 first, then v1.
const PEAK: [&str; 2] = ["memory.peak", "memory/memory.max_usage_in_bytes"];
const LIMIT: [&str; 2] = ["memory.max", "memory/memory.limit_in_bytes"];
/// A limit from which on v1 means none: the largest number that fits, in whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// How much memory the container has used at most, and may use; `memory.peak` is there since Linux 5.19.
pub(super) fn memory(cgroup: &Path) -> Memory {
    let read = |files: [&str; 2]| {
        files.iter().find_map(|file| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse::<u64>().ok())
    };
    Memory { peak: read(PEAK), limit: read(LIMIT).filter(|&limit| limit < NO_LIMIT) }
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

    #[test]
    fn the_most_memory_used_is_read_in_both_versions_and_no_limit_is_none() {
        let memory_of = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("memory")).unwrap();
            for (file, text) in files {
                fs::write(root.path().join(file), text).unwrap();
            }
            memory(root.path())
        };
        let both = Memory { peak: Some(66_060_288), limit: Some(67_108_864) };
        assert_eq!(memory_of(&[("memory.peak", "66060288\n"), ("memory.max", "67108864\n")]), both);
        let older =
            [("memory/memory.max_usage_in_bytes", "66060288\n"), ("memory/memory.limit_in_bytes", "67108864\n")];
        assert_eq!(memory_of(&older), both);
        let endless = [("memory.max", "max\n"), ("memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(memory_of(&endless), Memory::default());
    }
}
