//! How things are timed: both sides in turn, and the median of several rounds.

use std::time::{Duration, Instant};

/// How long `work` takes, in nanoseconds for each of its `steps`. What it returns is dropped
/// outside of the timed part.
pub fn per_step<R>(steps: usize, mut work: impl FnMut() -> R) -> f64 {
    per_step_of(steps, std::iter::once(()), |()| work())
}

/// How long `work` takes with each of `batches`, in nanoseconds for each of their `steps`. What it
/// returns, and making the next batch, is outside of the timed part: a batch is in the processor's
/// caches when it is handed over, as it is when a driver has just decoded it.
///
/// What the allocator puts off is paid for by the side that made it do so: it begins tidied up, and
/// to tidy up what `work` freed is in the timed part.
pub fn per_step_of<B, R>(
    steps: usize,
    batches: impl Iterator<Item = B>,
    mut work: impl FnMut(B) -> R,
) -> f64 {
    let mut elapsed = Duration::ZERO;
    tidy_up();
    for batch in batches {
        let start = Instant::now();
        let result = work(batch);
        elapsed += start.elapsed();
        drop(result);
    }
    let start = Instant::now();
    tidy_up();
    elapsed += start.elapsed();
    elapsed.as_nanos() as f64 / steps.max(1) as f64
}

/// glibc puts small blocks aside when they are freed, and merges them all as soon as somebody asks for
/// a large one. That can be millions of blocks, and whoever asks need not be the one who freed them.
fn tidy_up() {
    /// Large for glibc, and too small to be mapped by itself.
    const LARGE: usize = 100_000;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// The median of `values`; not a number if there are none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => {
            f64::midpoint(*below, *above)
        }
        (_, Some(middle)) => *middle,
        (_, None) => f64::NAN,
    }
}

/// Measures two sides in turn (A B, B A, A B, …), so that whatever else the machine does meets
/// both, and takes the median of each. One round in front warms up and does not count. Each side is
/// given the number of the round.
pub fn in_turn(
    rounds: usize,
    mut a: impl FnMut(usize) -> f64,
    mut b: impl FnMut(usize) -> f64,
) -> (f64, f64) {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (first, second);
        if round % 2 == 0 {
            first = a(round);
            second = b(round);
        } else {
            second = b(round);
            first = a(round);
        }
        if round > 0 {
            of_a.push(first);
            of_b.push(second);
        }
    }
    (median(&of_a), median(&of_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 100.0]), 3.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn both_sides_run_in_every_round_and_the_first_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let side = |name: char, values: [f64; 4]| {
            let order = &order;
            move |round: usize| {
                order.borrow_mut().push(name);
                values[round]
            }
        };
        let medians = in_turn(
            3,
            side('a', [100.0, 1.0, 2.0, 3.0]),
            side('b', [0.0, 10.0, 30.0, 20.0]),
        );
        assert_eq!(medians, (2.0, 20.0));
        assert_eq!(order.into_inner().iter().collect::<String>(), "abbaabba");
    }

    #[test]
    fn time_is_told_per_step() {
        let whole = per_step(1, std::thread::yield_now);
        assert!(whole >= 0.0);
        assert!(per_step(0, || ()).is_finite());
    }
}
