//! Named figures of one run.

use std::time::Duration;

use crate::server::Usage;

/// What a workload found out, in the order in which it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(pub(crate) Vec<(String, f64)>);

impl Figures {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    /// CPU of the server in µs per unit of work, as a whole and by process.
    pub(crate) fn add_cost(&mut self, name: &str, usage: &Usage, units: u64) {
        let per_unit = |time: Duration| time.as_secs_f64() * 1e6 / units as f64;
        self.add(name, per_unit(usage.total));
        for (process, time) in &usage.parts {
            self.add(&format!("{name}/{process}"), per_unit(*time));
        }
    }

    /// How many processors the server kept busy.
    pub(crate) fn add_share(&mut self, usage: &Usage, elapsed: Duration) {
        self.add(
            "server_cpu_share",
            usage.total.as_secs_f64() / elapsed.as_secs_f64(),
        );
    }

    /// The distribution of some times, in µs.
    pub(crate) fn add_percentiles(&mut self, mut times: Vec<Duration>) {
        const SHOWN: [(&str, f64); 5] = [
            ("p50_us", 0.5),
            ("p90_us", 0.9),
            ("p99_us", 0.99),
            ("p999_us", 0.999),
            ("max_us", 1.0),
        ];
        times.sort_unstable();
        for (name, share) in SHOWN {
            self.add(name, percentile(&times, share) * 1e6);
        }
    }
}

/// The time, in seconds, that this share of these takes at most; they are in order. NaN if there are
/// none.
pub(crate) fn percentile(times: &[Duration], share: f64) -> f64 {
    let at = (times.len().saturating_sub(1) as f64 * share) as usize;
    times.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

/// The middle of the values that are numbers; NaN if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times = (1..=100).rev().map(Duration::from_micros).collect();

        let mut figures = Figures::default();
        figures.add_percentiles(times);

        let shown: Vec<u64> = figures.0.iter().map(|(_, v)| v.round() as u64).collect();
        assert_eq!(shown, [50, 90, 99, 99, 100]);
    }

    #[test]
    fn the_median_leaves_out_what_is_not_a_number() {
        assert_eq!(median(&[3.0, f64::NAN, 1.0]), 2.0);
        assert_eq!(median(&[5.0, 1.0, 3.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn cost_is_given_by_process_when_known() {
        let usage = Usage {
            total: Duration::from_millis(30),
            parts: vec![("node".to_owned(), Duration::from_millis(10))],
        };

        let mut figures = Figures::default();
        figures.add_cost("us", &usage, 10_000);

        let expected = [("us".to_owned(), 3.0), ("us/node".to_owned(), 1.0)];
        assert_eq!(figures.0, expected);
    }
}
