//! The README's tables of limits say what the code does: every limit, with its default.
#![cfg(all(feature = "http", feature = "serve"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use reflet_tokio::http::HttpLimits;
use reflet_tokio::reflet_core::wire::WireLimits;
use reflet_tokio::reflet_core::{Limits, Timing};
use reflet_tokio::serve::CollectionOptions;

const README: &str = include_str!("../../README.md");

/// How often something is done, and how patiently: neither bounds what comes from outside.
const NO_LIMITS: [&str; 14] = [
    "min_interval",
    "page_burst",
    "page_interval",
    "backoff_min",
    "backoff_max",
    "slow_retry",
    "stable_after",
    "poll_interval",
    "verify_period",
    "verify_min_interval",
    "default_page_items",
    "heartbeat_interval",
    "bookmark_interval",
    "journal",
];

type Rows = BTreeMap<String, String>;

/// What is between the first two backticks.
fn named(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap()
}

/// A default as `Debug` shows it.
fn shown(default: &str) -> String {
    let default = default.replace(',', "");
    let Some((number, unit)) = default.split_once(' ') else {
        return default.replace("none", "None");
    };
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "s" | "ms" => return format!("{number}{unit}"),
        unit => panic!("the unit {unit}"),
    };
    (number.parse::<u64>().unwrap() << shift).to_string()
}

/// The rows of the table of this type.
fn table(of: &str) -> Rows {
    let head = format!("| `{of}`");
    let lines = README.lines().skip_while(|line| !line.starts_with(&head));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, default, happens, _] = cells[..] else {
            panic!("not three cells: {row}");
        };
        assert!(!happens.is_empty(), "{row}");
        (named(name).to_owned(), shown(default))
    })
    .collect()
}

/// The fields of a type and their defaults.
fn fields(defaults: &impl Debug) -> Rows {
    let shown = format!("{defaults:#?}");
    let fields = shown.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("    ")?.split_once(": ")?;
        Some((name.to_owned(), value.trim_end_matches(',').to_owned()))
    });
    fields.collect()
}

fn agree(of: &str, defaults: &impl Debug) {
    let (table, mut fields) = (table(of), fields(defaults));
    assert!(!table.is_empty(), "no table of {of}");
    fields.retain(|name, _| table.contains_key(name) || !NO_LIMITS.contains(&&**name));
    assert_eq!(table, fields, "{of}");
}

#[test]
fn the_readme_has_every_limit_with_its_default() {
    agree("Limits", &Limits::default());
    agree("Timing", &Timing::default());
    agree("HttpLimits", &HttpLimits::default());
    agree("WireLimits", &WireLimits::default());
    agree("CollectionOptions", &CollectionOptions::default());
}
