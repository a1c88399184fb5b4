//! Revisions, versions, epochs and incarnations: the tokens that a source stamps on its data.
//!
//! A revision belongs to a collection, a version to one object. Kubernetes and etcd draw both from
//! one counter, other sources do not, so they are different types and are never compared.

use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;

/// The text of a token: a number where it is a canonical decimal that fits, else the text itself.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Token {
    Number(u64),
    Text(Arc<str>),
}

impl Token {
    fn parse(text: &str) -> Self {
        match canonical_u64(text) {
            Some(number) => Self::Number(number),
            None => Self::Text(text.into()),
        }
    }

    #[inline]
    fn compare(&self, other: &Self) -> Option<Ordering> {
        self.as_ref().compare(other.as_ref())
    }

    #[inline]
    fn as_ref(&self) -> TokenRef<'_> {
        match self {
            Self::Number(number) => TokenRef::Number(*number),
            Self::Text(text) => TokenRef::Text(text),
        }
    }

    #[inline]
    fn text_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Text(text) => text.len(),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `text` as a number, if it is what that number prints as and fits into 64 bits.
fn canonical_u64(text: &str) -> Option<u64> {
    let canonical = text == "0"
        || text
            .as_bytes()
            .first()
            .is_some_and(|b| (b'1'..=b'9').contains(b));
    if canonical { text.parse().ok() } else { None }
}

/// The digits of a decimal number without leading zeros; `None` for anything else.
fn significant_digits(text: &str) -> Option<&[u8]> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = bytes.iter().take_while(|byte| **byte == b'0').count();
    bytes.get(zeros..)
}

/// Orders decimals of any length; `None` where one of the two is no decimal.
fn compare_decimals(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (significant_digits(a)?, significant_digits(b)?);
    Some(a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

fn compare_number(number: u64, text: &str) -> Option<Ordering> {
    let digits = significant_digits(text)?;
    // A decimal with up to 20 digits may still fit; a longer one is larger than any u64.
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    Some(value.map_or(Ordering::Less, |value| number.cmp(&value)))
}

/// A collection's revision: the point in the source's history that an answer belongs to.
///
/// Equality is always defined. An order is defined for decimals of any length, and is only asked
/// for where the source declares [`RevisionOrder::Ordered`](crate::RevisionOrder::Ordered).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Revision(Token);

impl Revision {
    /// The revision that prints as `text`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(Token::parse(text))
    }

    /// Which of two revisions is later; `None` where one of them is not a decimal number.
    #[must_use]
    #[inline]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        self.0.compare(&other.0)
    }

    /// The revision as a number, where it is a canonical decimal below 2^64.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Token::Number(number) => Some(number),
            Token::Text(_) => None,
        }
    }

    /// Whether this revision can be ordered against others.
    #[inline]
    pub(crate) fn is_decimal(&self) -> bool {
        self.compare(self).is_some()
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.0.text_bytes()
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(Token::Number(number))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({})", self.0)
    }
}

/// One object's version, as its source stamped it.
///
/// Equality is always defined; the order of decimals is only used where the source declares that
/// its versions are ordered. An empty version says that there is none: see [`VersionRef::NONE`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Token);

impl Version {
    /// The version that prints as `text`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(Token::parse(text))
    }

    /// The same version, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> VersionRef<'_> {
        VersionRef(self.0.as_ref())
    }

    /// Whether the source gave no version.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.as_ref().is_none()
    }

    /// Which of two versions is newer; `None` where one of them is not a decimal number.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        self.0.compare(&other.0)
    }

    /// Its number where it is a canonical decimal that fits, else its text.
    #[cfg(feature = "snapshot")]
    pub(crate) fn number_or_text(&self) -> Result<u64, &str> {
        self.as_ref().number_or_text()
    }

    /// The revision that committed this version, for sources that stamp their objects with it.
    pub(crate) fn as_revision(&self) -> Revision {
        Revision(self.0.clone())
    }
}

impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self(Token::Number(number))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TokenRef<'a> {
    Number(u64),
    Text(&'a str),
}

impl TokenRef<'_> {
    #[inline]
    fn compare(self, other: TokenRef<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), TokenRef::Number(b)) => Some(a.cmp(&b)),
            (Self::Number(a), TokenRef::Text(b)) => compare_number(a, b),
            (Self::Text(a), TokenRef::Number(b)) => compare_number(b, a).map(Ordering::reverse),
            (Self::Text(a), TokenRef::Text(b)) => compare_decimals(a, b),
        }
    }
}

/// A borrowed [`Version`]: an item that did not change is compared without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRef<'a>(TokenRef<'a>);

impl<'a> VersionRef<'a> {
    /// No version: what an object has whose source does not stamp it. It prints as nothing, and
    /// says nothing of what it stands for, so the contents are compared instead (see
    /// [`Informer::set_content_eq`](crate::Informer::set_content_eq)).
    pub const NONE: VersionRef<'static> = VersionRef(TokenRef::Text(""));

    /// Whether the source gave no version.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The version that prints as `text`.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        Self(canonical_u64(text).map_or(TokenRef::Text(text), TokenRef::Number))
    }

    /// The version that is kept as this text: it is no canonical decimal that fits.
    pub(crate) const fn from_text(text: &'a str) -> Self {
        Self(TokenRef::Text(text))
    }

    /// Its number where it is a canonical decimal that fits, else its text.
    pub(crate) const fn number_or_text(self) -> Result<u64, &'a str> {
        match self.0 {
            TokenRef::Number(number) => Ok(number),
            TokenRef::Text(text) => Err(text),
        }
    }

    /// An owned copy.
    #[must_use]
    pub fn to_version(self) -> Version {
        match self.0 {
            TokenRef::Number(number) => Version(Token::Number(number)),
            TokenRef::Text(text) => Version(Token::Text(text.into())),
        }
    }

    pub(crate) fn text_bytes(self) -> usize {
        match self.0 {
            TokenRef::Number(_) => 0,
            TokenRef::Text(text) => text.len(),
        }
    }

    /// Whether this version is older than `other` by the order of decimals.
    #[inline]
    pub(crate) fn is_older_than(self, other: VersionRef<'_>) -> bool {
        self.0.compare(other.0) == Some(Ordering::Less)
    }
}

impl From<u64> for VersionRef<'_> {
    fn from(number: u64) -> Self {
        Self(TokenRef::Number(number))
    }
}

impl PartialEq<Version> for VersionRef<'_> {
    fn eq(&self, other: &Version) -> bool {
        match (self.0, &other.0) {
            (TokenRef::Number(a), Token::Number(b)) => a == *b,
            (TokenRef::Text(a), Token::Text(b)) => *a == **b,
            (TokenRef::Number(_), Token::Text(_)) | (TokenRef::Text(_), Token::Number(_)) => false,
        }
    }
}

impl fmt::Display for VersionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TokenRef::Number(number) => number.fmt(f),
            TokenRef::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for VersionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionRef({self})")
    }
}

/// The source's name for one unbroken history (an etcd cluster id, a random id of a service).
///
/// Revisions of different epochs have nothing to do with each other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// The epoch that prints as `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The epoch's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.0)
    }
}

/// What tells a re-created object from an updated one: 64 bits that the source derives from its
/// uid, or a counter of its own (etcd's `create_revision`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation of an object whose uid is `uid` (a Kubernetes `metadata.uid`, say).
    ///
    /// The uid's FNV-1a hash: 64 bits are enough to tell apart the few incarnations that one key
    /// has while somebody still remembers the older one.
    #[must_use]
    pub fn from_uid(uid: &str) -> Self {
        Self(crate::digest::fnv1a(
            crate::digest::FNV_OFFSET,
            uid.as_bytes(),
        ))
    }
}

impl Incarnation {
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

impl From<u64> for Incarnation {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_any_length_are_ordered_by_value() {
        let ordered = [
            "0",
            "9",
            "10",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(
                    Revision::parse(a).compare(&Revision::parse(b)),
                    Some(i.cmp(&j)),
                    "{a} {b}"
                );
                assert_eq!(
                    VersionRef::parse(a).is_older_than(VersionRef::parse(b)),
                    i < j,
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_decimal_has_no_order() {
        for text in ["", "abc", "-1", "1.0", "0x10", " 1"] {
            assert_eq!(
                Revision::parse(text).compare(&Revision::from(1)),
                None,
                "{text:?}"
            );
            assert_eq!(
                Revision::from(1).compare(&Revision::parse(text)),
                None,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_leading_zero_changes_identity_but_not_order() {
        let (plain, padded) = (Version::from(7), Version::parse("007"));
        assert_ne!(plain, padded);
        assert_eq!(plain.compare(&padded), Some(Ordering::Equal));
        assert_eq!(padded.compare(&Version::from(8)), Some(Ordering::Less));
        assert!(VersionRef::parse("007") == padded && VersionRef::parse("007") != plain);
    }
}
