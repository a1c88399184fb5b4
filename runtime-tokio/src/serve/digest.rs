//! The anti-entropy digest: a number that both ends compute and compare.

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// One object's share of a collection's digest; the digest is the wrapping sum of all shares.
///
/// FNV-1a (64 bits) over the key's bytes, the byte `0xff` (which no UTF-8 text contains) and the
/// version's decimal text, then the finalizer of splitmix64. The final mix is per object, because
/// sums of bare FNV hashes of similar keys cancel out too easily.
#[must_use]
pub fn object_digest(key: &str, version: u64) -> u64 {
    let version = version.to_string();
    let bytes = key.bytes().chain([0xff]).chain(version.bytes());
    mix(bytes.fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    }))
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the protocol document.
    #[test]
    fn the_digest_is_the_one_that_is_written_down() {
        assert_eq!(object_digest("hello", 7), 0xd97f_bc16_15c3_b1bd);
        assert_eq!(object_digest("routes/é", 12), 0xfc71_fd80_ff9f_2618);
        let sum = object_digest("hello", 7).wrapping_add(object_digest("routes/é", 12));
        assert_eq!(sum, 0xd5f1_b997_1562_d7d5);
    }
}
