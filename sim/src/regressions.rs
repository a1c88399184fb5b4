//! Every trace that ever failed, kept to be replayed: `regressions/NAME.trace`, and beside it in
//! `regressions/marks.txt` the reach mark that it must hit. A trace that no longer gets there is
//! outdated, and says so: it would pass without proving anything.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::run::{Outcome, run_strictly};
use crate::trace::Trace;

/// One stored trace.
#[derive(Clone, Debug)]
pub struct Regression {
    /// Its file's name, without the ending.
    pub name: String,
    /// The named situation that it must reach.
    pub mark: String,
    /// The trace.
    pub trace: Trace,
}

/// Why stored traces cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// The folder of this package's own regressions.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// All traces of a folder, by name.
///
/// # Errors
///
/// If the folder or a file cannot be read, is no trace, or a trace and its mark are not both there.
pub fn load(folder: &Path) -> Result<Vec<Regression>, Unusable> {
    let unusable =
        |path: &Path, error: &dyn fmt::Display| Unusable(format!("{}: {error}", path.display()));
    let index = folder.join("marks.txt");
    let marks = std::fs::read_to_string(&index).map_err(|error| unusable(&index, &error))?;
    let mut regressions = Vec::new();
    for line in marks.lines().filter(|line| !line.is_empty()) {
        let (name, mark) = line
            .split_once(": ")
            .ok_or_else(|| unusable(&index, &format_args!("no `name: mark`: {line}")))?;
        let path = folder.join(format!("{name}.trace"));
        let bytes = std::fs::read(&path).map_err(|error| unusable(&path, &error))?;
        let trace = Trace::from_bytes(&bytes).map_err(|error| unusable(&path, &error))?;
        regressions.push(Regression {
            name: name.to_owned(),
            mark: mark.to_owned(),
            trace,
        });
    }
    let files = std::fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    let traces = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "trace"));
    for path in traces {
        let listed = |regression: &Regression| {
            path.file_stem()
                .is_some_and(|stem| stem == regression.name.as_str())
        };
        if !regressions.iter().any(listed) {
            return Err(unusable(&path, &"it has no mark in marks.txt"));
        }
    }
    Ok(regressions)
}

impl Regression {
    /// Replays it.
    ///
    /// # Errors
    ///
    /// If a promise is broken once more, or the trace no longer gets to its mark.
    pub fn replay(&self) -> Result<Outcome, Unusable> {
        let outcome = run_strictly(&self.trace);
        if let Some(violation) = &outcome.violation {
            let words = format!(
                "{}: {}: {}",
                self.name, violation.promise, violation.message
            );
            return Err(Unusable(words));
        }
        if !outcome.marks.contains(self.mark.as_str()) {
            return Err(Unusable(format!(
                "{}: outdated: it no longer reaches {:?}",
                self.name, self.mark
            )));
        }
        Ok(outcome)
    }
}
