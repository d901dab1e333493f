//! Where large contents are cut: a gear hash over the last 64 bytes, so that an insertion moves no cut beyond its own
//! neighbourhood.
//!
//! The average goes by the offset of a chunk's start, not by the size of the file: what is appended to leaves all earlier
//! cuts alone, and the size of a stream need not be known.

use gearhash::Hasher;

/// Average chunk by offset of its start: below 4 GiB, below 256 GiB, beyond.
const AVERAGE_BITS: [(u64, u32); 3] = [(4 << 30, 18), (256 << 30, 20), (u64::MAX, 22)];
/// The gear hash forgets bytes after 64.
const MEMORY: usize = 64;

/// Finds the end of one chunk after the other.
pub(crate) struct Chunker {
    offset: u64,
}

impl Chunker {
    pub(crate) fn new() -> Self {
        Self { offset: 0 }
    }

    /// Bytes that must be at hand for [`Chunker::cut`], unless the content ends before.
    pub(crate) fn wanted(&self) -> usize {
        4 << self.bits()
    }

    /// Length of the next chunk, from bytes that begin at its start: a quarter to four times the average, all of what is
    /// there if the content ends first.
    pub(crate) fn cut(&mut self, bytes: &[u8]) -> usize {
        let bits = self.bits();
        let (least, most) = (1_usize << (bits - 2), 4_usize << bits);
        let window = &bytes[..bytes.len().min(most)];
        let length = if window.len() <= least {
            window.len()
        } else {
            let start = least - MEMORY;
            let mut hasher = Hasher::default();
            hasher.update(&window[start..least]);
            // The upper bits have seen the most bytes.
            let mask = !0_u64 << (64 - bits);
            hasher.next_match(&window[least..], mask).map_or(window.len(), |matched| least + matched)
        };
        self.offset += length as u64;
        length
    }

    fn bits(&self) -> u32 {
        AVERAGE_BITS.iter().find(|(below, _)| self.offset < *below).map_or(22, |(_, bits)| *bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
        out
    }

    fn cuts(bytes: &[u8]) -> Vec<usize> {
        let (mut chunker, mut at, mut cuts) = (Chunker::new(), 0, Vec::new());
        while at < bytes.len() {
            at += chunker.cut(&bytes[at..]);
            cuts.push(at);
        }
        cuts
    }

    #[test]
    fn chunks_are_within_their_bounds_and_near_their_average() {
        let data = noise(16 << 20);
        let cuts = cuts(&data);
        let average = data.len() / cuts.len();
        assert!((200 << 10..500 << 10).contains(&average), "average {average}");
        let longest = cuts.iter().scan(0, |last, &cut| Some(cut - std::mem::replace(last, cut))).max();
        assert!(longest <= Some(1 << 20));
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it() {
        let mut data = noise(16 << 20);
        let before = cuts(&data);
        data.splice(5 << 20..5 << 20, *b"seventeen bytes!!");
        let after = cuts(&data);
        let kept = before.iter().filter(|cut| after.contains(cut) || after.contains(&(**cut + 17))).count();
        assert!(before.len() - kept <= 4, "{} of {} cuts kept", kept, before.len());
    }
}
