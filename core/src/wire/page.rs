//! A page of a list.

use alloc::format;
use alloc::string::String;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{Item, revision};
use super::refusal::malformed;
use super::text::{Elements, Lossy, Text, in_words};
use crate::frame::{Decoder, Frame};
use crate::input::Failure;
use crate::probe::reach;
use crate::token::{Epoch, Revision};

#[derive(Debug, Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    revision: Text<'a>,
    #[serde(borrow, default)]
    epoch: Option<Text<'a>>,
    #[serde(borrow)]
    items: &'a RawValue,
    #[serde(borrow, default, rename = "continue")]
    next: Option<Text<'a>>,
}

/// A page, read as far as its items' beginnings.
#[derive(Debug)]
pub struct Page<'a> {
    source: &'a Lossy<'a>,
    revision: Revision,
    epoch: Option<Epoch>,
    next: Option<Text<'a>>,
    items: Elements<'a>,
}

/// An object of a page, or what is there in its place.
#[derive(Debug)]
pub struct PageItem<'a> {
    index: usize,
    size: usize,
    source: &'a Lossy<'a>,
    item: Result<Item<'a>, String>,
}

impl<'a> Page<'a> {
    /// Reads what surrounds the items; `head` is the epoch that the head of the answer names.
    ///
    /// # Errors
    /// It is no page of the protocol.
    pub fn read(source: &'a Lossy<'a>, head: Option<Epoch>) -> Result<Self, Failure> {
        let raw: Raw<'a> = serde_json::from_str(source.text()).map_err(|error| {
            reach!("page that is no JSON");
            malformed(&format!("the page: {}", in_words(&error)))
        })?;
        let items = Elements::of(raw.items.get())
            .ok_or_else(|| malformed("the page: items is not an array"))?;
        Ok(Self {
            source,
            epoch: same_epoch(head, raw.epoch.as_ref())?,
            revision: stamped(&raw.revision)?,
            next: raw.next.filter(|next| !next.as_str().is_empty()),
            items,
        })
    }

    /// The revision that the page shows.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The epoch that the revision belongs to.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    /// What asks for the next page; `None`: there is none.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_ref().map(Text::as_str)
    }

    /// Its objects, in their order.
    ///
    /// # Errors
    /// What comes then is no JSON, and nothing after it can be trusted.
    pub fn items(&self) -> impl Iterator<Item = Result<PageItem<'a>, Failure>> + use<'a> {
        let source = self.source;
        self.items.clone().enumerate().map(move |(index, json)| {
            let json = json.map_err(|error| {
                malformed(&format!("item {index} of the page: {}", in_words(&error)))
            })?;
            Ok(PageItem {
                index,
                size: json.len(),
                source,
                item: Item::read(json, source),
            })
        })
    }
}

impl PageItem<'_> {
    /// What it says; its value is decoded by `decoder`.
    #[must_use]
    pub fn frame<'f, V: 'static>(&'f self, decoder: &'f Decoder<V>) -> Frame<'f, V> {
        match &self.item {
            Ok(item) => item.frame(self.size, self.source, decoder),
            Err(error) => Frame::Undecodable {
                size: self.size,
                error: format!("item {} of the page: {error}", self.index),
            },
        }
    }
}

/// The revision of an answer.
///
/// # Errors
/// It is not a decimal.
pub fn stamped(text: &Text<'_>) -> Result<Revision, Failure> {
    revision(text).ok_or_else(|| {
        malformed(&format!(
            "the revision {:?} is not a decimal",
            text.as_str()
        ))
    })
}

/// The epoch of an answer, whose head and body must agree.
///
/// # Errors
/// They do not.
pub fn same_epoch(head: Option<Epoch>, body: Option<&Text<'_>>) -> Result<Option<Epoch>, Failure> {
    let body = body.map(|text| Epoch::new(text.as_str()));
    match (head, body) {
        (Some(head), Some(body)) if head != body => Err(malformed(&format!(
            "the head says epoch {head}, the body {body}"
        ))),
        (head, body) => Ok(body.or(head)),
    }
}
