//! Request targets: what goes into one is encoded, whatever it is.

use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString as _};
use core::fmt::{Display, Write as _};

/// `text` as one path segment or query value: all but RFC 3986's unreserved characters encoded.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path and the query that grows behind it.
#[derive(Clone, Debug)]
pub struct Path {
    text: String,
    separator: char,
}

impl Path {
    /// A path without a query.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            text: path.to_owned(),
            separator: '?',
        }
    }

    /// The same with one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.text.push(self.separator);
        self.text.push_str(&encode(name));
        self.text.push('=');
        self.text.push_str(&encode(&value.to_string()));
        self.separator = '&';
        self
    }

    /// The same with one more parameter, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// What is asked for.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
