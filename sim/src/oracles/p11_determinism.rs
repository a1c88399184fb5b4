//! P11: the same configuration, seed and calls give the same outputs, in any process.

use std::fmt::{self, Write as _};

use super::{Checked, Promise};

/// A running hash (FNV-1a, 64 bits) over everything that goes in and comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl TraceHash {
    /// Takes in what `words` print as.
    pub fn words(&mut self, words: fmt::Arguments<'_>) {
        // Writing into a hash cannot fail.
        let _ = self.write_fmt(words);
        self.number(u64::MAX);
    }

    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0
    }
}

impl fmt::Write for TraceHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for chunk in text.as_bytes().chunks(8) {
            let number = chunk
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte));
            self.number(number);
        }
        Ok(())
    }
}

/// Compares the hashes of two runs of the same trace.
///
/// # Errors
///
/// If they differ.
pub fn check_determinism(first: u64, second: u64) -> Checked {
    Promise::Determinism.require(first == second, || {
        format!("the same run twice has the hashes {first:016x} and {second:016x}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_difference() {
        assert_eq!(check_determinism(1, 1), Ok(()));
        assert!(check_determinism(1, 2).is_err());
    }

    #[test]
    fn the_hash_sees_every_word_and_its_order() {
        let hash = |words: &[&str]| {
            let mut hash = TraceHash::default();
            words
                .iter()
                .for_each(|word| hash.words(format_args!("{word}")));
            hash.finish()
        };
        assert_eq!(hash(&["a", "bc"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", "bc"]), hash(&["ab", "c"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_ne!(hash(&["123456789"]), hash(&["123456780"]));
    }
}
