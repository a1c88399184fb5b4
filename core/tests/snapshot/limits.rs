//! Hostile lengths cost nothing, and what is over a limit is refused as a whole.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use reflet_core::snapshot::{Decoder, SnapshotError, SnapshotLimit};
use reflet_core::{BadInput, Informer, Limits, RevisionOrder, SourceProfile};

use crate::rig::{Rig, config, full_profile, plain_profile};
use crate::{IDENTITY, bytes, decode, decode_within};

/// Counts the largest allocation of each thread.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its nature, and this one only counts"
)]
// SAFETY: all calls are handed on as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `act` returns, and the largest allocation that it made.
fn largest<T>(act: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let result = act();
    (result, LARGEST.get())
}

/// A snapshot with these bytes as its pieces, and checksums that fit.
fn forged(pieces: &[&[u8]]) -> Vec<u8> {
    let mut whole = b"\x89REFLET\n\x01\0\0\0".to_vec();
    let mut summed = whole.clone();
    for piece in pieces {
        let length = u32::try_from(piece.len()).unwrap().to_le_bytes();
        summed.extend(length);
        summed.extend(*piece);
        whole.extend(length);
        whole.extend(crc32(&summed).to_le_bytes());
        whole.extend(*piece);
    }
    whole
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// The identity, no epoch, revision 10, no rewinds, and as many objects as `objects` encodes.
fn header(objects: &[u8]) -> Vec<u8> {
    let length = u8::try_from(IDENTITY.len()).unwrap();
    let mut header = vec![length];
    header.extend(IDENTITY.as_bytes());
    header.extend(b"\0\x01\x0210\0");
    header.extend(objects);
    header.extend(b"\0\0");
    header
}

/// 2^60 as postcard writes it.
const HUGE: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

#[test]
fn a_forged_snapshot_would_be_read() {
    let object = b"\0\x01a\0\x05\0\x08\x07";
    let snapshot = decode(&forged(&[&header(&[1]), object, b""])).unwrap();
    let read: Vec<_> = snapshot
        .iter()
        .map(|(key, _, value)| (&**key, *value))
        .collect();
    assert_eq!(read, [("a", 7)]);
}

#[test]
fn a_length_of_two_to_the_sixty_allocates_nothing() {
    let in_key = [b"\0".as_slice(), HUGE, b"a"].concat();
    let in_version = [b"\0\x01a\x01".as_slice(), HUGE].concat();
    let in_words = [b"\x01\x01a\0".as_slice(), HUGE].concat();
    for record in [in_key, in_version, in_words] {
        let forged = forged(&[&header(&[1]), &record, b""]);
        let (result, allocated) = largest(|| decode(&forged).map(|_| ()));
        assert!(
            matches!(result, Err(SnapshotError::Malformed { .. })),
            "{result:?}"
        );
        assert!(allocated < 4_096, "{allocated} bytes");
    }
}

#[test]
fn a_value_with_a_huge_length_allocates_nothing() {
    let object = [b"\0\x01a\0\x05\0\x08".as_slice(), HUGE].concat();
    let forged = forged(&[&header(&[1]), &object, b""]);
    let (result, allocated) =
        largest(|| Decoder::<Arc<str>, Vec<u64>>::new(IDENTITY, &Limits::default()).push(&forged));
    assert!(
        matches!(result, Err(SnapshotError::Malformed { .. })),
        "{result:?}"
    );
    assert!(allocated < 4_096, "{allocated} bytes");
}

#[test]
fn a_huge_number_of_objects_is_refused_before_the_first() {
    let forged = forged(&[&header(HUGE), b""]);
    let over = SnapshotError::OverLimit {
        limit: SnapshotLimit::Objects,
    };
    assert_eq!(decode(&forged).map(|_| ()), Err(over));
}

#[test]
fn a_number_of_objects_that_does_not_fit_is_malformed() {
    let error = decode(&forged(&[&header(&[3]), b""])).map(|_| ());
    assert!(
        matches!(error, Err(SnapshotError::Malformed { .. })),
        "{error:?}"
    );
}

#[test]
fn a_piece_only_costs_what_has_come_of_it() {
    let mut whole = forged(&[]);
    whole.extend(u32::MAX.to_le_bytes());
    whole.extend([0; 100]);
    let (result, allocated) = largest(|| decode(&whole).map(|_| ()));
    assert!(
        matches!(result, Err(SnapshotError::Truncated { .. })),
        "{result:?}"
    );
    assert!(allocated < 4_096, "{allocated} bytes");

    let limits = Limits {
        bytes: 1_000,
        ..Limits::default()
    };
    let error = decode_within(&whole, &limits).map(|_| ());
    assert_eq!(
        error,
        Err(SnapshotError::PieceTooLong {
            at: 12,
            bytes: u32::MAX
        })
    );
}

#[test]
fn a_size_that_is_a_lie_does_not_lift_the_limit() {
    // Each object says that it has one byte, and brings 2,000.
    let objects: Vec<u8> = (0..20_u8)
        .flat_map(|number| {
            let head = [0, 1, b'a' + number, 0, 5, 0, 1, 0xd0, 0x0f];
            head.into_iter().chain([0; 2_000])
        })
        .collect();
    let forged = forged(&[&header(&[20]), &objects, b""]);
    let read = |bytes| {
        let limits = Limits {
            bytes,
            token_bytes: 16,
            key_bytes: 16,
            ..Limits::default()
        };
        let mut decoder = Decoder::<Arc<str>, Vec<u8>>::new(IDENTITY, &limits);
        decoder
            .push(&forged)
            .and_then(|()| decoder.finish())
            .map(|snapshot| snapshot.len())
    };
    assert_eq!(read(1 << 20), Ok(20));
    assert_eq!(
        read(1_000),
        Err(SnapshotError::OverLimit {
            limit: SnapshotLimit::Bytes
        })
    );
}

#[test]
fn each_limit_of_the_configuration_holds() {
    let mut rig = Rig::new(config(full_profile()));
    let list = rig.expect_list();
    rig.page(
        list,
        Some("an epoch"),
        10,
        &[("a longer key", 1), ("b", 2)],
        None,
    );
    let bytes = bytes(&rig);
    type Lower = fn(&mut Limits);
    let cases: [(SnapshotLimit, Lower); 4] = [
        (SnapshotLimit::Objects, |limits| limits.objects = 1),
        (SnapshotLimit::Bytes, |limits| limits.bytes = 20),
        (SnapshotLimit::Key, |limits| limits.key_bytes = 11),
        (SnapshotLimit::Token, |limits| limits.token_bytes = 7),
    ];
    for (limit, lower) in cases {
        let mut small = config(full_profile());
        lower(&mut small.limits);
        let over = SnapshotError::OverLimit { limit };
        assert_eq!(
            decode_within(&bytes, &small.limits).map(|_| ()),
            Err(over.clone())
        );
        // The same where it was read under other limits.
        let snapshot = decode(&bytes).unwrap();
        let refused = Informer::restore(small, 7, rig.now, snapshot).map(|_| ());
        assert_eq!(refused, Err(over));
    }
}

#[test]
fn a_snapshot_of_another_kind_of_source_is_refused() {
    let opaque = SourceProfile {
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let mut before = Rig::new(config(opaque));
    let list = before.expect_list();
    before.say(
        list,
        reflet_core::Input::Page {
            epoch: None,
            revision: Some(reflet_core::Revision::parse("W/\"abc\"")),
        },
    );
    before.say(list, reflet_core::Input::PageEnd { next: None });
    let snapshot = decode(&bytes(&before)).unwrap();
    let refused = Informer::restore(config(plain_profile()), 7, before.now, snapshot).map(|_| ());
    let what = BadInput::RevisionNotDecimal;
    assert_eq!(refused, Err(SnapshotError::Unsuited { what }));
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let object = b"\0\x01a\0\x05\0\x08\x07";
    let snapshot = decode(&forged(&[&header(&[2]), object, object, b""])).unwrap();
    let rig = Rig::new(config(plain_profile()));
    let refused = Informer::restore(config(plain_profile()), 7, rig.now, snapshot).map(|_| ());
    assert!(matches!(refused, Err(SnapshotError::Malformed { .. })));
}
