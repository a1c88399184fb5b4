//! Decompresses what a connection brings, a bounded part at a time: whatever the ratio, no more is
//! in memory than what was read and one part.

use std::io::{self, Write as _};
use std::mem;

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;

/// A compressed body that is being read.
pub(super) struct Gunzip {
    /// Takes no more of its input than makes some 32 KiB.
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What was read and is not decompressed yet.
    input: Bytes,
    /// Whether there was any input at all.
    begun: bool,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            input: Bytes::new(),
            begun: false,
        }
    }

    /// Takes what was read, once everything before it has been pulled.
    pub(super) fn push(&mut self, input: Bytes) {
        self.begun |= !input.is_empty();
        self.input = input;
    }

    /// The next part; empty: all that has come so far was pulled. What a server has flushed comes
    /// at once.
    pub(super) fn pull(&mut self) -> io::Result<Bytes> {
        while !self.input.is_empty() {
            let taken = self.decoder.write(&self.input)?;
            self.input.advance(taken);
            let stuck = taken == 0 && self.decoder.get_ref().is_empty();
            if stuck {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.input.is_empty() {
                self.decoder.flush()?;
            }
            let part = mem::take(self.decoder.get_mut());
            if !part.is_empty() {
                return Ok(part.into());
            }
        }
        Ok(Bytes::new())
    }

    /// Whether the body was whole, at its end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.begun {
            self.decoder.try_finish()?;
        }
        Ok(())
    }
}

#[cfg(not(feature = "simulated"))]
#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for part in parts {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    fn unpack(gunzip: &mut Gunzip, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        gunzip.push(Bytes::copy_from_slice(chunk));
        loop {
            let part = gunzip.pull()?;
            if part.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&part);
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_however_it_is_cut(
            parts in prop::collection::vec(prop::collection::vec(0..4u8, 0..5_000), 0..5),
            cut in 1..700usize,
        ) {
            let mut gunzip = Gunzip::new();
            let mut all = Vec::new();
            for chunk in gzip(&parts).chunks(cut) {
                all.extend(unpack(&mut gunzip, chunk).unwrap());
            }
            prop_assert!(gunzip.finish().is_ok());
            prop_assert_eq!(all, parts.concat());
        }

        #[test]
        fn nothing_that_comes_panics_or_goes_on_for_ever(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in 1..50usize,
            at in 0..200usize,
        ) {
            let mut packed = gzip(&[b"some text, some text".to_vec()]);
            let at = at.min(packed.len());
            packed.truncate(at);
            packed.extend(bytes);
            let mut gunzip = Gunzip::new();
            for chunk in packed.chunks(cut) {
                if unpack(&mut gunzip, chunk).is_err() {
                    break;
                }
            }
            let _ = gunzip.finish();
        }
    }

    #[test]
    fn what_is_flushed_comes_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut gunzip = Gunzip::new();
        for word in ["one\n", "two\n", "three\n"] {
            encoder.write_all(word.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let chunk = mem::take(encoder.get_mut());
            assert_eq!(unpack(&mut gunzip, &chunk).unwrap(), word.as_bytes());
        }
        assert!(gunzip.finish().is_err(), "the end is missing");
    }

    #[test]
    fn several_members_are_one_body_and_nothing_at_all_is_an_empty_one() {
        let mut gunzip = Gunzip::new();
        let packed = [gzip(&[b"one ".to_vec()]), gzip(&[b"two".to_vec()])].concat();
        assert_eq!(unpack(&mut gunzip, &packed).unwrap(), b"one two");
        assert!(gunzip.finish().is_ok());
        assert!(Gunzip::new().finish().is_ok());
    }

    #[test]
    fn parts_of_a_bomb_are_small() {
        let packed = gzip(&[vec![0; 64 << 20]]);
        assert!(packed.len() < 100_000);
        let mut gunzip = Gunzip::new();
        gunzip.push(packed.into());
        let mut all = 0;
        loop {
            let part = gunzip.pull().unwrap();
            if part.is_empty() {
                break;
            }
            assert!(part.len() <= 128 << 10, "{}", part.len());
            all += part.len();
        }
        assert_eq!(all, 64 << 20);
    }
}
