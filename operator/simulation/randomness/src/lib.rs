//! The system's source of randomness, taken over: on a thread that has a seed, `getrandom` gives bytes that follow from
//! it; on every other it does what it always does.
//!
//! The standard library's hash maps take their keys there, and so does whatever draws jitter. With threads that live
//! one life each, all of it is the same each time, in every dependency. Each call on a thread gets the same bytes, not
//! the next ones: what is drawn once in a process, by whoever comes first, then changes nothing for those who draw
//! after it. Generators stretch what they get; nobody draws ids here twice. The way of madsim and of mad-turmoil
//! (<https://github.com/s2-streamstore/mad-turmoil>), which stands on a network of its own that is not needed here.

use std::cell::Cell;

use rustix::rand::GetRandomFlags;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread draws from `seed`. To be called before anything on the thread was left to chance: the
/// standard library draws its keys once per thread.
pub fn seed_this_thread(seed: u64) {
    fastrand::seed(seed);
    SEED.set(Some(seed));
}

/// `getrandom(2)`, which the linker puts in the place of the C library's.
///
/// # Safety
///
/// `buffer` must be null or valid for writes of `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if buffer.is_null() {
        return -1;
    }
    // SAFETY: the caller vouches for the buffer, as it does to the C library.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    if let Ok(Some(seed)) = SEED.try_with(Cell::get) {
        fastrand::Rng::with_seed(seed).fill(buffer);
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // The system call itself: it does not come by here again.
    let drawn = rustix::rand::getrandom(buffer, GetRandomFlags::from_bits_retain(flags));
    drawn.map_or(-1, |drawn| isize::try_from(drawn).unwrap_or(isize::MAX))
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn keys(seed: Option<u64>) -> u64 {
        let drawn = std::thread::spawn(move || {
            if let Some(seed) = seed {
                seed_this_thread(seed);
            }
            RandomState::new().hash_one("a key")
        });
        drawn.join().expect("hashing does not panic")
    }

    #[test]
    fn hash_maps_of_one_seed_are_alike_and_those_without_differ() {
        assert_eq!(keys(Some(1)), keys(Some(1)));
        assert_ne!(keys(Some(1)), keys(Some(2)));
        assert_ne!(keys(None), keys(None));
    }
}
