//! JSON pointers, and the parts of a text that they point at, without decoding the rest of it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most steps of a pointer: what a hostile answer costs is bounded by them.
const MAX_STEPS: usize = 16;

/// A JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) such as `/metadata/name`:
/// a slash before each step, `~1` for a slash and `~0` for a tilde within one. The empty pointer
/// is the whole. At most 16 steps.
///
/// ```
/// use reflet_tokio::http::rest::Pointer;
///
/// let name: Pointer = "/metadata/name".parse()?;
/// assert_eq!(name.to_string(), "/metadata/name");
/// assert!("metadata.name".parse::<Pointer>().is_err());
/// # Ok::<(), reflet_tokio::http::rest::InvalidPointer>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer {
    steps: Vec<Box<str>>,
}

/// A text is no JSON pointer, or has too many steps. Its words cite the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPointer(String);

impl fmt::Display for InvalidPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "{text:?} is no JSON pointer of at most {MAX_STEPS} steps"
        )
    }
}

impl std::error::Error for InvalidPointer {}

impl Pointer {
    /// The whole.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// Whether it points at the whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// The pointer `/name`.
    pub(super) fn child(name: &str) -> Self {
        Self {
            steps: vec![name.into()],
        }
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let invalid = || InvalidPointer(text.to_owned());
        let Some(steps) = text.strip_prefix('/') else {
            return if text.is_empty() {
                Ok(Self::whole())
            } else {
                Err(invalid())
            };
        };
        let steps: Vec<_> = steps
            .split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .ok_or_else(invalid)?;
        if steps.len() > MAX_STEPS {
            return Err(invalid());
        }
        Ok(Self { steps })
    }
}

impl TryFrom<String> for Pointer {
    type Error = InvalidPointer;

    fn try_from(text: String) -> Result<Self, InvalidPointer> {
        text.parse()
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// One step as it is meant; `None`: a tilde stands before nothing that it may stand before.
fn unescape(step: &str) -> Option<Box<str>> {
    let mut parts = step.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push(match part.as_bytes().first() {
            Some(b'0') => '~',
            Some(b'1') => '/',
            _ => return None,
        });
        plain.push_str(part.get(1..)?);
    }
    Some(plain.into())
}

/// The parts of `json` that the pointers point at, in one walk however many there are. A part that
/// is not there is `None`; so is what a pointer does not say.
///
/// # Errors
/// The text is no JSON as far as it has to be walked, or has a wanted member twice.
pub(super) fn pick<'a, const N: usize>(
    json: &'a str,
    wanted: [Option<&Pointer>; N],
) -> serde_json::Result<[Option<&'a str>; N]> {
    let mut found = [None; N];
    let wanted = wanted.iter().enumerate();
    let wanted: Vec<Wanted<'_>> = wanted
        .filter_map(|(slot, pointer)| Some((slot, pointer.as_ref()?.steps.as_slice())))
        .collect();
    walk(json, &wanted, &mut found)?;
    Ok(found)
}

/// Where a part goes, and the steps that are left to it.
type Wanted<'w> = (usize, &'w [Box<str>]);

/// Goes down as many levels as the longest pointer has steps.
fn walk<'a>(
    json: &'a str,
    wanted: &[Wanted<'_>],
    found: &mut [Option<&'a str>],
) -> serde_json::Result<()> {
    let json = json.trim_ascii_start();
    for (slot, steps) in wanted {
        if steps.is_empty()
            && let Some(found) = found.get_mut(*slot)
        {
            *found = Some(json);
        }
    }
    let mut firsts: Vec<&str> = wanted
        .iter()
        .filter_map(|(_, steps)| Some(&**steps.first()?))
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    if firsts.is_empty() || !json.starts_with(['{', '[']) {
        return Ok(());
    }
    let children = Children(&firsts).deserialize(&mut serde_json::Deserializer::from_str(json))?;
    for (first, child) in children {
        let below: Vec<_> = wanted
            .iter()
            .filter(|(_, steps)| steps.first().is_some_and(|step| **step == *first))
            .map(|(slot, steps)| (*slot, steps.get(1..).unwrap_or_default()))
            .collect();
        walk(child.get(), &below, found)?;
    }
    Ok(())
}

/// The wanted members of an object, or elements of an array. The names are sorted.
struct Children<'w>(&'w [&'w str]);

impl<'w> Children<'w> {
    fn wanted(&self, name: &str) -> Option<&'w str> {
        let at = self.0.binary_search(&name).ok()?;
        self.0.get(at).copied()
    }
}

impl<'de, 'w> DeserializeSeed<'de> for Children<'w> {
    type Value = Vec<(&'w str, &'de RawValue)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, 'w> Visitor<'de> for Children<'w> {
    type Value = Vec<(&'w str, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut children: Self::Value = Vec::with_capacity(self.0.len());
        while let Some(Borrowed(name)) = map.next_key()? {
            match self.wanted(&name) {
                Some(name) if children.iter().any(|(known, _)| *known == name) => {
                    return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                }
                Some(name) => children.push((name, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(children)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // A leading zero or a sign makes a name, not an index.
        let index = |name: &&'w str| Some((name.parse::<usize>().ok()?, *name));
        let wanted = self.0.iter().filter_map(index);
        let wanted: Vec<_> = wanted
            .filter(|(at, name)| at.to_string() == **name)
            .collect();
        let mut children: Self::Value = Vec::with_capacity(wanted.len());
        for index in 0.. {
            let name = wanted.iter().find(|(at, _)| *at == index);
            let more = match name {
                Some((_, name)) => {
                    let element = seq.next_element()?;
                    children.extend(element.map(|element| (*name, element)));
                    element.is_some()
                }
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(children)
    }
}

/// A JSON string; borrowed unless it has escapes.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string, or a number as it is written; `None` for no value and for null.
///
/// # Errors
/// It is something else.
pub(super) fn text(json: Option<&str>) -> Result<Option<Cow<'_, str>>, &'static str> {
    let Some(json) = json else { return Ok(None) };
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<Borrowed<'_>>(json) {
            Ok(Borrowed(text)) => Ok(Some(text)),
            Err(_) => Err("is no valid string"),
        },
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(json))),
        Some(b'n') => Ok(None),
        _ => Err("is neither a string nor a number"),
    }
}
