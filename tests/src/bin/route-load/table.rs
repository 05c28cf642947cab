//! The figures that are aimed at, as ratios to the limit, with the targets met and missed.

use std::fmt::Write as _;

use crate::report::{Measured, Report};
use crate::server::LIMIT;
use crate::target::{Bound, TARGETS, Target};

/// Figures that should be 0; anything else is told below the table.
const SHOULD_BE_ZERO: [&str; 3] = ["lost", "missing", "wrong"];

/// The table as text; rows that were not measured are left out.
pub(crate) fn render(report: &Report) -> String {
    let servers = server_names(report);
    let mut out = format!("{:36}", "");
    for server in &servers {
        let _ = write!(out, "{server:>12}{:28}", "");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');

    let mut missed = 0;
    for target in &TARGETS {
        let Some(measured) = report.workloads.iter().find(|m| target.is_of(&m.label)) else {
            continue;
        };
        let mut line = format!("{:36}", target.work);
        for server in &servers {
            let cell = Cell::new(target, measured, server);
            missed += usize::from(cell.met == Some(false));
            let _ = write!(line, "{}", cell.render(target.unit));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let _ = writeln!(out, "\n{missed} targets missed");
    complaints(report, &mut out);
    out
}

/// What one server achieved in one row.
struct Cell {
    value: Option<f64>,
    /// To the limit.
    ratio: Option<f64>,
    bound: Option<Bound>,
    met: Option<bool>,
}

impl Cell {
    fn new(target: &Target, measured: &Measured, server: &str) -> Self {
        let median = |server| measured.series(server)?.median(target.figure);
        let value: Option<f64> = median(server);
        let ratio = match (value, median(LIMIT)) {
            (Some(value), Some(limit)) if server != LIMIT => Some(value / limit),
            _ => None,
        };
        let bound = target.bound(server);
        let met = match bound {
            Some(Bound::Times(times)) => ratio.map(|ratio| ratio <= times),
            Some(Bound::Value(most)) => value.map(|value| value <= most),
            None => None,
        };
        Self {
            value,
            ratio,
            bound,
            met,
        }
    }

    fn render(&self, unit: &str) -> String {
        let value = self
            .value
            .map_or_else(|| "-".to_owned(), |value| format!("{value:.2} {unit}"));
        let ratio = self
            .ratio
            .map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
        let bound = match self.bound {
            Some(Bound::Times(times)) => format!("≤ {times}×"),
            Some(Bound::Value(most)) => format!("≤ {most}"),
            None => String::new(),
        };
        let verdict = match self.met {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "",
        };
        format!("{value:>12} {ratio:>8}   {bound:<8} {verdict:<7}")
    }
}

fn server_names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for series in report.workloads.iter().flat_map(|m| &m.servers) {
        if !names.contains(&series.server.as_str()) {
            names.push(&series.server);
        }
    }
    names
}

/// Losses, and how quiet the machine was.
fn complaints(report: &Report, out: &mut String) {
    let mut noise: f64 = 0.0;
    for measured in &report.workloads {
        for series in &measured.servers {
            for figure in SHOULD_BE_ZERO {
                let worst = series.worst(figure).unwrap_or(0.0);
                if worst > 0.0 {
                    let _ = writeln!(
                        out,
                        "{}: {}: {figure} {worst:.0}",
                        measured.label, series.server
                    );
                }
            }
            noise = noise.max(series.worst("other_cpu_share").unwrap_or(0.0));
        }
    }
    if report.failures > 0 {
        let _ = writeln!(out, "{} runs failed", report.failures);
    }
    let _ = writeln!(out, "other processes used up to {noise:.2} processors");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    fn report(limit: f64, embedded: f64) -> Report {
        let names = [LIMIT, "embedded"].map(str::to_owned);
        let mut measured = Measured::new(
            "forward conns=2 senders=1 window=64".to_owned(),
            names.into_iter(),
        );
        for (server, us) in [limit, embedded].into_iter().enumerate() {
            let figure = ("server_us_per_delivery".to_owned(), us);
            measured.add(server, Figures(vec![figure, ("lost".to_owned(), 3.0)]));
        }
        Report {
            workloads: vec![measured],
            failures: 0,
        }
    }

    #[test]
    fn a_ratio_within_the_bound_passes() {
        let text = render(&report(1.0, 1.9));

        assert!(text.contains("1.90×"), "{text}");
        assert!(text.contains("pass"), "{text}");
        assert!(text.contains("0 targets missed"), "{text}");
    }

    #[test]
    fn a_ratio_over_the_bound_is_missed() {
        let text = render(&report(1.0, 2.1));

        assert!(text.contains("MISS"), "{text}");
        assert!(text.contains("1 targets missed"), "{text}");
    }

    #[test]
    fn losses_are_told() {
        let text = render(&report(1.0, 1.0));

        assert!(text.contains("embedded: lost 3"), "{text}");
    }
}
