//! Identity: of runs, tasks, nodes, terms and claims. Owns how they are made of time and chance and spelled; never where
//! they are kept, nor who mints them.
//!
//! A run's id is one 63-bit integer made of its batch (41 bits of milliseconds since 2020, 12 random bits) and its
//! number in the batch (10 bits), counted from a random one where the batch has room to spare. So the runs of one firing are one index range, ids grow with time and keep a B-tree
//! dense, an id never comes back after a restore (it holds the wall time of its minting), and no database sequence is
//! asked. `docs/decisions/001-run-identity.md` has the reasons.

use std::fmt;
use std::str::FromStr;

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 2020-01-01T00:00:00Z, from which batch times count.
pub const BATCH_EPOCH_MS: i64 = 1_577_836_800_000;
/// Random bits of a batch.
pub const RANDOM_BITS: u32 = 12;
/// Bits of a number within its batch.
pub const NUMBER_BITS: u32 = 10;

/// How many runs one batch can number.
pub const BATCH_RUNS_MAX: usize = 1 << NUMBER_BITS;

const SPELLING: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SPELLED_LEN: usize = 13;

macro_rules! spelled_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// From a BIGINT column.
            #[must_use]
            pub const fn from_i64(raw: i64) -> Self {
                Self(raw)
            }

            /// For a BIGINT column.
            #[must_use]
            pub const fn as_i64(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            /// Thirteen characters of Crockford's base 32, which sort as the numbers do.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&spell(self.0))
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                read(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

spelled_id!(
    /// A run, for ever: from its submission or firing until its history is pruned.
    RunId
);
spelled_id!(
    /// A task; never used again after the task was deleted, though its name may be.
    TaskId
);
spelled_id!(
    /// One start of one node: a node that restarts is a new node.
    NodeId
);
spelled_id!(
    /// A worker's right to the attempts it won in one claim. Random, so that numbers that come back after a restore
    /// can't be mistaken for it.
    ClaimId
);
spelled_id!(
    /// One row of the outbox: the runs that one firing made ready to be published.
    OutboxId
);

impl RunId {
    /// The part that all runs of one firing or submission share.
    #[must_use]
    pub const fn batch(self) -> i64 {
        self.0 >> NUMBER_BITS
    }

    /// The number inside the batch.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// When the batch was minted, by the minting node's clock.
    #[must_use]
    pub const fn minted_at(self) -> Timestamp {
        Timestamp::from_ms((self.0 >> (RANDOM_BITS + NUMBER_BITS)) + BATCH_EPOCH_MS)
    }

    /// The smallest id that a batch minted at `t` could have: the bound for lists by time.
    #[must_use]
    pub fn floor(t: Timestamp) -> Self {
        Self((t.as_ms() - BATCH_EPOCH_MS).max(0) << (RANDOM_BITS + NUMBER_BITS))
    }
}

/// The random name of one term, 128 bits in hex. Guards compare it beside the epoch, because epoch numbers can come
/// back after a restore and names can't.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holder(String);

impl Holder {
    /// From its spelling in the store or the lock.
    #[must_use]
    pub const fn from_spelling(text: String) -> Self {
        Self(text)
    }

    /// Its spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An id that isn't spelled as ids are.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an id: ids are 13 characters, as in 00m3c9v7q8e01")]
pub struct Malformed(String);

fn spell(raw: i64) -> String {
    let mut out = [b'0'; SPELLED_LEN];
    let mut rest = raw.unsigned_abs();
    for place in out.iter_mut().rev() {
        *place = SPELLING[usize::try_from(rest & 31).unwrap_or(0)];
        rest >>= 5;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn read(text: &str) -> Result<i64, Malformed> {
    let wrong = || Malformed(text.chars().take(40).collect());
    if text.len() != SPELLED_LEN {
        return Err(wrong());
    }
    let mut raw: u64 = 0;
    for byte in text.bytes() {
        let digit = SPELLING
            .iter()
            .position(|c| *c == byte.to_ascii_lowercase())
            .ok_or_else(wrong)?;
        raw = raw.checked_mul(32).ok_or_else(wrong)? | u64::try_from(digit).unwrap_or(0);
    }
    i64::try_from(raw).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_as_numbers() {
        for raw in [0, 1, 31, 32, 1 << 40, i64::MAX] {
            assert_eq!(RunId(raw).to_string().parse::<RunId>(), Ok(RunId(raw)));
        }
        assert!(RunId(31).to_string() < RunId(32).to_string());
        for wrong in ["", "1", "zzzzzzzzzzzzz", "00000000000u0", "000000000000000"] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }
}
