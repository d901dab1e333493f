//! Names of objects that the operator makes: pure functions of what the objects stand for, so that making one
//! twice makes one.

/// The longest name of a Repo, Commit, Pipeline or Job.
pub const MAX_NAME: usize = 52;
/// How much of a Pipeline's name its Jobs carry.
pub const MAX_PIPELINE_PREFIX: usize = 40;
/// How many characters of base32 follow it: 50 bits.
pub const JOB_SUFFIX: usize = 10;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name of the Job for a digest of Pipeline uid, generation, input seals and run: up to 40 characters of
/// the Pipeline's name, `-`, and 10 of base32. At most 51 characters, always a DNS label.
///
/// The caller hashes; this crate has no hash of its own.
pub fn job(pipeline: &str, digest: &[u8; 32]) -> String {
    let prefix = pipeline.get(..MAX_PIPELINE_PREFIX).unwrap_or(pipeline).trim_end_matches('-');
    format!("{prefix}-{}", base32(digest, JOB_SUFFIX))
}

/// The name of a Job's n-th batch Job. Its pods' names and host names stay within 63 characters.
pub fn batch_job(job: &str, attempt: u32) -> String {
    format!("{job}-{attempt}")
}

/// The name of a Job's copy of a ConfigMap, for a digest of what it is a copy of.
pub fn config_copy(job: &str, digest: &[u8; 32]) -> String {
    format!("{job}-{}", base32(digest, JOB_SUFFIX))
}

/// The name of the pod that asks a node what a Pipeline's image is, for a digest of what is asked.
///
/// Up to 40 characters of the Pipeline's name, `-image-`, and 10 of base32.
pub fn probe_pod(pipeline: &str, digest: &[u8; 32]) -> String {
    let prefix = pipeline.get(..MAX_PIPELINE_PREFIX).unwrap_or(pipeline).trim_end_matches('-');
    format!("{prefix}-image-{}", base32(digest, JOB_SUFFIX))
}

/// The name of the batch Job that fetches what a Commit puts. Dots, which a Commit's name may have and a pod's
/// host name may not, become `-`; who owns the batch Job tells `a.b` from `a-b`.
pub fn import_job(commit: &str) -> String {
    format!("{}-import", commit.replace('.', "-"))
}

/// The first `length` characters of base32 (RFC 4648, lower case) of these bytes.
fn base32(bytes: &[u8; 32], length: usize) -> String {
    (0..length)
        .map(|i| {
            let (byte, shift) = (i * 5 / 8, i * 5 % 8);
            let pair = u16::from_be_bytes([bytes[byte], bytes[byte + 1]]);
            char::from(BASE32[usize::from(pair << shift >> 11)])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_name_is_the_pipelines_and_fifty_bits() {
        let mut digest = [0; 32];
        digest[..7].copy_from_slice(b"foobarb");
        assert_eq!(job("edges", &digest), "edges-mzxw6ytboj"); // RFC 4648: "foobar" is MZXW6YTBOI, "foobarb" MZXW6YTBOJ…
    }

    #[test]
    fn names_made_from_the_longest_name_still_fit() {
        let pipeline = format!("{}-{}", "p".repeat(39), "q".repeat(12));
        assert_eq!(pipeline.len(), MAX_NAME);
        let name = job(&pipeline, &[255; 32]);
        assert_eq!(name, format!("{}-7777777777", "p".repeat(39)));
        assert!(job(&"p".repeat(52), &[0; 32]).len() < MAX_NAME);
        assert!(format!("{}-99999", batch_job(&job(&"p".repeat(52), &[0; 32]), 99_999)).len() <= 63);
        assert!(import_job(&"c".repeat(52)).len() <= 63);
        assert!(probe_pod(&"p".repeat(52), &[0; 32]).len() <= 63);
    }

    #[test]
    fn dots_of_a_commits_name_do_not_reach_a_pod() {
        assert_eq!(import_job("v1.2"), "v1-2-import");
    }
}
