//! What a server is made with: its clock, where its ids come from, when it collects garbage, who has the logs.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use super::logs::LogSource;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a server behaves; the defaults are those of a laptop.
#[derive(Clone)]
pub struct Settings {
    /// Tells the time of `creationTimestamp` and its like.
    pub clock: Clock,
    /// Makes uids and the ends of generated names.
    pub ids: Ids,
    /// When dependents follow their owners.
    pub collection: Collection,
    /// Who has the logs of containers; without it there are none.
    pub logs: Option<Arc<dyn LogSource>>,
}

/// When objects are deleted whose owners are gone, and namespaces emptied that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// In the very call that made them garbage.
    AtOnce,
    /// When [`Server::collect`](super::Server::collect) is called: a simulation chooses the moment.
    WhenAsked,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clock: Arc::new(Timestamp::now), ids: Ids::random(), collection: Collection::AtOnce, logs: None }
    }
}

impl Settings {
    /// For a simulation: the same seed and clock give the same uids, names and times.
    pub fn simulated(seed: u64, clock: Clock) -> Self {
        Self { clock, ids: Ids::seeded(seed), ..Self::default() }
    }
}

/// A source of uids and of the ends of generated names: `SplitMix64` over a seed of 128 bits.
#[derive(Clone)]
pub struct Ids(Arc<Mutex<[u64; 2]>>);

/// What generated names end in: no vowels, and nothing that looks like another character.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

impl Ids {
    /// Always the same ones for one seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new([seed, 0x5851_f42d_4c95_7f2d])))
    }

    /// Others at every start.
    pub fn random() -> Self {
        let (high, low) = Uuid::now_v7().as_u64_pair();
        Self(Arc::new(Mutex::new([high, low])))
    }

    fn next(&self) -> u64 {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states[0] = states[0].wrapping_add(0x9e37_79b9_7f4a_7c15);
        states[1] = states[1].wrapping_add(0xd1b5_4a32_d192_ed03);
        mix(states[0]) ^ mix(states[1]).rotate_left(17)
    }

    /// A new uid.
    pub(crate) fn uid(&self) -> String {
        let (high, low) = (self.next(), self.next());
        uuid::Builder::from_random_bytes(Uuid::from_u64_pair(high, low).into_bytes()).into_uuid().to_string()
    }

    /// A new end for a generated name.
    pub(crate) fn suffix(&self) -> String {
        let mut bits = self.next();
        (0..SUFFIX_LENGTH)
            .map(|_| {
                let letter = SUFFIX_LETTERS[usize::try_from(bits % 27).unwrap_or(0)];
                bits /= 27;
                char::from(letter)
            })
            .collect()
    }
}

/// The finaliser of `SplitMix64`.
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
