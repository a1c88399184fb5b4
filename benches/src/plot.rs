//! Costs against sizes, as small SVG files with logarithmic axes.

use std::fmt::Write as _;

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub name: &'static str,
    /// Sizes and costs.
    pub points: Vec<(f64, f64)>,
}

/// A plot of costs against sizes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The headline.
    pub title: &'static str,
    /// What the sizes are.
    pub x: &'static str,
    /// What the costs are.
    pub y: &'static str,
    /// The lines.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 180.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// Told apart by most eyes, in print too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

/// An axis over whole decades.
#[derive(Clone, Copy)]
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Axis {
    /// The decades that hold all `values`, drawn between two coordinates. What has no logarithm is
    /// drawn at one.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(exponent) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A float that is too large for an i32 is cut to its range.
        let first = low.floor() as i32;
        let last = (high.ceil() as i32).max(first + 1);
        Self {
            first,
            last,
            from,
            to,
        }
    }

    fn at(self, value: f64) -> f64 {
        let span = f64::from(self.last - self.first);
        let share = (exponent(value) - f64::from(self.first)) / span;
        self.from + share * (self.to - self.from)
    }

    fn decades(self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|exponent| 10_f64.powi(exponent))
    }
}

fn exponent(value: f64) -> f64 {
    if value > 0.0 { value.log10() } else { 0.0 }
}

impl Plot {
    /// The plot as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::over(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::over(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, (LEFT, 24.0), "start", self.title);
        text(
            &mut svg,
            ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0),
            "middle",
            self.x,
        );
        text(&mut svg, (LEFT, TOP - 6.0), "end", self.y);
        for decade in x.decades() {
            let at = x.at(decade);
            line(&mut svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(
                &mut svg,
                (at, HEIGHT - BOTTOM + 18.0),
                "middle",
                &label(decade),
            );
        }
        for decade in y.decades() {
            let at = y.at(decade);
            line(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(&mut svg, (LEFT - 8.0, at + 4.0), "end", &label(decade));
        }
        for (index, (series, colour)) in self.series.iter().zip(COLOURS.iter().cycle()).enumerate()
        {
            let mut path = String::new();
            for (size, cost) in &series.points {
                let (x, y) = (x.at(*size), y.at(*cost));
                put(&mut path, format_args!("{x:.1},{y:.1} "));
                let dot = format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"
                );
                put(&mut svg, dot);
            }
            let path = path.trim_end();
            put(
                &mut svg,
                format_args!(
                    "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
                ),
            );
            let at = TOP + 16.0 + 20.0 * index as f64;
            put(
                &mut svg,
                format_args!(
                    "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"{colour}\"/>\n",
                    WIDTH - RIGHT + 18.0,
                    at - 4.0
                ),
            );
            text(&mut svg, (WIDTH - RIGHT + 28.0, at), "start", series.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    put(
        svg,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>\n"
        ),
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    put(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n"),
    );
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(words);
}

fn label(decade: f64) -> String {
    match decade {
        1e9.. => format!("{}G", decade / 1e9),
        1e6.. => format!("{}M", decade / 1e6),
        1e3.. => format!("{}k", decade / 1e3),
        _ => format!("{decade}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_their_logarithms_are() {
        let axis = Axis::over([1_000.0, 90_000.0].into_iter(), 100.0, 300.0);
        assert_eq!((axis.first, axis.last), (3, 5));
        assert_eq!(axis.at(1_000.0), 100.0);
        assert_eq!(axis.at(10_000.0), 200.0);
        assert_eq!(axis.at(100_000.0), 300.0);
    }

    #[test]
    fn one_point_none_and_zero_can_be_drawn() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0), (10.0, 5.0)]] {
            let series = vec![Series {
                name: "a < b",
                points,
            }];
            let svg = Plot {
                title: "t",
                x: "x",
                y: "y",
                series,
            }
            .svg();
            assert!(
                svg.contains("a &lt; b") && svg.ends_with("</svg>\n"),
                "{svg}"
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
