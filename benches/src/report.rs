//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// What a row has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Reflet's figure is at most this many times the other's.
    Ratio(f64),
    /// Reflet's figure itself is at most this, in the row's unit.
    AtMost(f64),
}

/// One line of the comparison: the same thing measured on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The size: objects, or where the name says so subscribers or informers.
    pub n: usize,
    /// Reflet's figure.
    pub reflet: f64,
    /// The figure of what it is compared with, which the name tells.
    pub other: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// The first by the second.
    pub ratio: f64,
    /// The highest ratio that meets the goal, or the highest figure where the goal is absolute.
    pub goal: f64,
    /// Whether the goal is met.
    pub met: bool,
    #[serde(skip)]
    absolute: bool,
}

impl Row {
    /// A row of two figures, judged by `goal`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        n: usize,
        unit: &'static str,
        (reflet, other): (f64, f64),
        goal: Goal,
    ) -> Self {
        let ratio = if reflet == 0.0 { 0.0 } else { reflet / other };
        let (goal, figure, absolute) = match goal {
            Goal::Ratio(goal) => (goal, ratio, false),
            Goal::AtMost(goal) => (goal, reflet, true),
        };
        Self {
            name: name.into(),
            n,
            reflet,
            other,
            unit,
            ratio,
            goal,
            met: figure <= goal,
            absolute,
        }
    }

    fn cells(&self) -> [String; 7] {
        let goal = if self.absolute {
            format!("{} {}", short(self.goal), self.unit)
        } else {
            format!("{}×", short(self.goal))
        };
        [
            self.name.clone(),
            grouped(self.n),
            format!("{} {}", short(self.reflet), self.unit),
            format!("{} {}", short(self.other), self.unit),
            format!("{}×", short(self.ratio)),
            format!("≤ {goal}"),
            if self.met { "met" } else { "NOT MET" }.to_owned(),
        ]
    }
}

const HEADINGS: [&str; 7] = ["what", "n", "Reflet", "other", "ratio", "goal", ""];

/// All rows as one table: names to the left, figures to the right.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; HEADINGS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Writing to a string does not fail.
            let _ = if column == 0 || column == HEADINGS.len() - 1 {
                write!(row, "{cell:<width$}  ")
            } else {
                write!(row, "{cell:>width$}  ")
            };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// All rows as a JSON array.
///
/// # Errors
/// A figure that JSON has no number for.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(rows).map(|text| text + "\n")
}

/// Three digits are more than a measurement is worth.
fn short(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() >= 100.0 {
        grouped(value.round() as usize)
    } else if value.abs() >= 10.0 {
        format!("{value:.1}").trim_end_matches(".0").to_owned()
    } else if value.abs() >= 1.0 {
        trimmed(format!("{value:.2}"))
    } else {
        trimmed(format!("{value:.4}"))
    }
}

fn trimmed(number: String) -> String {
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::new("update", 100_000, "ns", (150.0, 75.0), Goal::Ratio(3.0)),
            Row::new("idle", 10, "B", (4_097.0, 1.0), Goal::AtMost(4_096.0)),
        ]
    }

    #[test]
    fn a_ratio_is_judged_by_the_ratio_and_an_absolute_goal_by_the_figure() {
        let rows = rows();
        assert!(rows[0].met && rows[0].ratio == 2.0);
        assert!(!rows[1].met && rows[1].ratio == 4_097.0);
        assert!(!Row::new("x", 1, "ns", (3.1, 1.0), Goal::Ratio(3.0)).met);
    }

    #[test]
    fn nothing_against_nothing_is_no_ratio_of_not_a_number() {
        let row = Row::new("allocations", 1, "", (0.0, 0.0), Goal::AtMost(0.0));
        assert!(row.met && row.ratio == 0.0);
    }

    #[test]
    fn the_table_lines_its_columns_up() {
        let expected = "\
what          n   Reflet  other   ratio       goal
update  100,000   150 ns  75 ns      2×       ≤ 3×  met
idle         10  4,097 B    1 B  4,097×  ≤ 4,096 B  NOT MET
";
        assert_eq!(table(&rows()), expected);
    }

    #[test]
    fn the_json_has_the_fields_that_tools_read() {
        let text = json(&rows()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "name": "update", "n": 100_000, "reflet": 150.0, "other": 75.0, "unit": "ns",
            "ratio": 2.0, "goal": 3.0, "met": true,
        });
        assert_eq!(value[0], expected);
        assert_eq!(value[1]["met"], false);
    }

    #[test]
    fn figures_are_kept_short() {
        let shown: Vec<_> = [0.0, 0.0123, 0.05, 1.5, 12.34, 20.0, 999.6, 1_234_567.0]
            .map(short)
            .into();
        assert_eq!(
            shown,
            [
                "0",
                "0.0123",
                "0.05",
                "1.5",
                "12.3",
                "20",
                "1,000",
                "1,234,567"
            ]
        );
    }
}
