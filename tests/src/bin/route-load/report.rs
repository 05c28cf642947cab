//! All figures of all runs, as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::figures::{Figures, median};
use crate::server::Kind;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) workloads: Vec<Measured>,
    /// Runs that a server did not survive or did not answer.
    pub(crate) failures: usize,
}

/// One workload on all servers that can serve it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) label: String,
    pub(crate) servers: Vec<Series>,
}

/// One workload on one server.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) server: String,
    /// Name of each figure, with its values run by run.
    figures: Vec<(String, Vec<f64>)>,
}

impl Report {
    /// A list of `{test, server, metrics: {name: {median, runs}}}`.
    pub(crate) fn to_json(&self) -> Value {
        let rows = self.workloads.iter().flat_map(|measured| {
            measured.servers.iter().map(|series| {
                json!({
                    "test": measured.label,
                    "server": series.server,
                    "metrics": series.to_json(),
                })
            })
        });
        rows.collect()
    }
}

impl Measured {
    pub(crate) fn new(label: String, servers: impl Iterator<Item = String>) -> Self {
        let series = |server| Series {
            server,
            figures: Vec::new(),
        };
        Self {
            label,
            servers: servers.map(series).collect(),
        }
    }

    /// Adds a run of the server with this index.
    pub(crate) fn add(&mut self, server: usize, run: Figures) {
        let series = &mut self.servers[server];
        for (name, value) in run.0 {
            match series.figures.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => series.figures.push((name, vec![value])),
            }
        }
    }

    pub(crate) fn series(&self, server: &str) -> Option<&Series> {
        self.servers.iter().find(|series| series.server == server)
    }
}

impl Series {
    /// Median over the runs; `None` if this server has no such figure.
    pub(crate) fn median(&self, figure: &str) -> Option<f64> {
        let (_, values) = self.figures.iter().find(|(name, _)| name == figure)?;
        Some(median(values)).filter(|value| !value.is_nan())
    }

    /// The largest value over the runs.
    pub(crate) fn worst(&self, figure: &str) -> Option<f64> {
        let (_, values) = self.figures.iter().find(|(name, _)| name == figure)?;
        values.iter().copied().reduce(f64::max)
    }

    fn to_json(&self) -> Value {
        let metrics = self.figures.iter().map(|(name, values)| {
            let runs: Vec<f64> = values.iter().copied().map(rounded).collect();
            let entry = json!({ "median": rounded(median(values)), "runs": runs });
            (name.clone(), entry)
        });
        Value::Object(metrics.collect())
    }
}

/// Medians, one line per figure and one column per server, with ratios to the relay or NATS where it has
/// the figure.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.label)?;
        write!(f, "  {:34}", "")?;
        for series in &self.servers {
            write!(f, "{:>14} {:8}", series.server, "")?;
        }
        writeln!(f)?;
        for name in self.figure_names() {
            write!(f, "  {name:34}")?;
            let limit = self.compared_with().and_then(|limit| limit.median(name));
            for series in &self.servers {
                let value = series.median(name);
                let shown = value.map_or_else(|| "-".to_owned(), number);
                let ratio = match (value, limit) {
                    (Some(value), Some(limit))
                        if Kind::of(&series.server) == Kind::Route && limit != 0.0 =>
                    {
                        format!("{:.2}×", value / limit)
                    }
                    _ => String::new(),
                };
                write!(f, "{shown:>14} {ratio:8}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}

impl Measured {
    /// What RouteServers are compared with.
    fn compared_with(&self) -> Option<&Series> {
        let mut series = self.servers.iter();
        series.find(|series| Kind::of(&series.server) != Kind::Route)
    }

    /// Every figure that some server has, in order; parts by process stand below their whole.
    fn figure_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.servers.iter().flat_map(|series| &series.figures) {
            if names.contains(&name.as_str()) {
                continue;
            }
            let whole = name.split('/').next();
            let below = names
                .iter()
                .rposition(|known| known.split('/').next() == whole);
            names.insert(below.map_or(names.len(), |at| at + 1), name);
        }
        names
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 || value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::LIMIT;

    fn measured() -> Measured {
        let names = [LIMIT, "mine"].map(str::to_owned);
        let mut measured = Measured::new("forward".to_owned(), names.into_iter());
        measured.add(0, Figures(vec![("us".to_owned(), 0.5)]));
        for us in [1.0, 9.0, 2.0] {
            measured.add(1, Figures(vec![("us".to_owned(), us)]));
        }
        measured
    }

    #[test]
    fn text_shows_medians_and_ratios_to_the_limit() {
        let text = measured().to_string();

        let line = text.lines().find(|line| line.contains("us")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["us", "0.500", "2", "4.00×"]);
    }

    #[test]
    fn parts_stand_below_their_whole() {
        let mut measured = measured();
        let figures = ["lost", "us/node"].map(|name| (name.to_owned(), 1.0));
        measured.add(1, Figures(figures.to_vec()));

        assert_eq!(measured.figure_names(), ["us", "us/node", "lost"]);
    }

    #[test]
    fn json_holds_every_run() {
        let report = Report {
            workloads: vec![measured()],
            failures: 0,
        };

        let json = report.to_json();

        let expected = json!({ "median": 2.0, "runs": [1.0, 9.0, 2.0] });
        assert_eq!(json[1]["metrics"]["us"], expected);
    }
}
