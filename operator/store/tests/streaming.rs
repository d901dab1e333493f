//! A content far larger than memory should hold: alone in its own process, since what is measured is the process.

mod support;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::TryStreamExt;
use support::Place;
use tokio::io::{AsyncRead, ReadBuf};

/// A stream of bytes that no codec makes shorter and no two chunks of which are equal.
struct Noise {
    state: u64,
    left: u64,
}

impl AsyncRead for Noise {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let room = buffer.remaining().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut written = 0;
        while written < room {
            // SplitMix64: fast, and even enough.
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            let take = (room - written).min(8);
            buffer.put_slice(&bytes[..take]);
            written += take;
        }
        self.left -= written as u64;
        Poll::Ready(Ok(()))
    }
}

/// The most memory that this process ever had resident, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("in KiB") / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_streams_through_within_memory_for_a_few_parts() {
    let mib: u64 = std::env::var("VARVE_TEST_STREAM_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(384);
    let (folder, _guard) = Place::folder();
    let place = Place::from_environment().unwrap_or(folder);
    let session = place.open().await.session();
    let content = session.write_content(Noise { state: 1, left: mib << 20 }).await.expect("a content");
    session.flush().await.expect("a flush");
    let after_writing = peak_mib();
    let reader = place.open().await;
    let size = reader
        .read(&content, 0..u64::MAX)
        .try_fold(0, |size, part| async move { Ok(size + part.len() as u64) })
        .await
        .expect("the content, verified");
    assert_eq!(size, mib << 20);
    let peak = peak_mib();
    println!("{mib} MiB written, at most {after_writing} MiB resident; and read, at most {peak}");
    assert!(peak < 200, "{peak} MiB resident");
}
