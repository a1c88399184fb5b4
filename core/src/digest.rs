//! The anti-entropy digest: one number that tells whether two copies of a collection are equal.
//!
//! It is a wrapping sum over the objects, so it is kept up to date at a cost per change, in any
//! order, and both ends can compute it. It guards against losses, not against forgery.

use core::fmt::Write as _;

use crate::token::VersionRef;

pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Continues an FNV-1a hash of 64 bits over `bytes`.
pub(crate) fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

/// A digest of a whole collection at one revision: the wrapping sum of [`Digest::of`] over its
/// objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// One object's share: FNV-1a (64 bits) of the key's bytes, the byte 0xff and the version's
    /// text, mixed by the finalizer of splitmix64 so that a sum of shares does not cancel out.
    #[must_use]
    pub fn of(key: &[u8], version: VersionRef<'_>) -> Self {
        let mut text = Fnv(fnv1a(fnv1a(FNV_OFFSET, key), &[0xff]));
        // Writing into a hash cannot fail.
        let _ = write!(text, "{version}");
        Self(mix(text.0))
    }

    /// The digest of the collection with this share added.
    #[must_use]
    pub const fn plus(self, share: Self) -> Self {
        Self(self.0.wrapping_add(share.0))
    }

    /// The digest of the collection with this share taken away.
    #[must_use]
    pub const fn minus(self, share: Self) -> Self {
        Self(self.0.wrapping_sub(share.0))
    }
}

/// The finalizer of splitmix64: a bijection that spreads every input bit over the output.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Fnv(u64);

impl core::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 = fnv1a(self.0, text.as_bytes());
        Ok(())
    }
}
