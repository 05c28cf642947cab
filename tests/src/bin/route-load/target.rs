//! What the project aims at, per piece of work. Where a server is faster than its target asks,
//! nothing is said.

/// The largest acceptable value of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// So many times what the limit has.
    Times(f64),
    /// In the figure's own unit.
    Value(f64),
}

/// A figure that is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The work, for people.
    pub(crate) work: &'static str,
    /// First words of the workload's label.
    workload: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) unit: &'static str,
    embedded: Bound,
    pair: Bound,
}

impl Target {
    /// Whether a workload with this label has the figure.
    pub(crate) fn is_of(&self, label: &str) -> bool {
        label
            .strip_prefix(self.workload)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    }

    /// What is asked of a server, which is told by its name.
    pub(crate) fn bound(&self, server: &str) -> Option<Bound> {
        match server {
            "embedded" => Some(self.embedded),
            "pair" => Some(self.pair),
            _ => None,
        }
    }
}

const DELIVERY: &str = "server_us_per_delivery";

/// In the order in which they are shown.
#[rustfmt::skip]
pub(crate) const TARGETS: [Target; 21] = [
    times("group message, 2 MsgServers, one sends", "forward conns=2 senders=1", DELIVERY, 2.0, 4.0),
    times("… 2, both send", "forward conns=2 senders=2", DELIVERY, 2.0, 4.0),
    times("… 10, one sends", "forward conns=10 senders=1", DELIVERY, 2.0, 4.0),
    times("… 10, all send", "forward conns=10 senders=10", DELIVERY, 2.0, 4.0),
    times("… 50, one sends", "forward conns=50 senders=1", DELIVERY, 2.0, 3.0),
    times("… 50, all send", "forward conns=50 senders=50", DELIVERY, 2.0, 3.0),
    times("20 MB at once, 10 MsgServers", "flood conns=10", DELIVERY, 3.0, 5.0),
    value("one-to-one message among 50", "bytes conns=50", "server_us_per_message", "µs", 3.0, 6.0),
    value("… copies", "bytes conns=50", "copies_per_message", "", 1.0, 1.0),
    times("unloaded A to B, median", "latency", "p50_us", 1.4, 3.0),
    times("unloaded A to B, p99", "latency", "p99_us", 2.0, 4.0),
    value("20 000 messages/s to 10, p99", "rate 20000", "p99_us", "µs", 1000.0, 2000.0),
    value("status request of 1 id", "status ids=1", "server_us_per_request", "µs", 5.0, 12.0),
    value("… 100 ids", "status ids=100", "server_us_per_request", "µs", 12.0, 20.0),
    value("… 1000 ids", "status ids=1000", "server_us_per_request", "µs", 80.0, 120.0),
    value("1 M users from ten lists", "users dense", "load_seconds", "s", 0.8, 1.5),
    value("… scattered ids", "users scattered", "load_seconds", "s", 0.8, 1.5),
    value("… memory per user", "users dense", "rss_bytes_per_user", "B", 120.0, 250.0),
    value("… memory, scattered ids", "users scattered", "rss_bytes_per_user", "B", 120.0, 250.0),
    value("worst answer while a tenth closes", "users dense", "close_worst_answer_ms", "ms", 10.0, 10.0),
    value("login/logout storm on 10, notice", "storm conns=10", "server_us_per_notice", "µs", 0.8, 1.5),
];

/// A target relative to the limit; all such figures are in µs.
const fn times(
    work: &'static str,
    workload: &'static str,
    figure: &'static str,
    embedded: f64,
    pair: f64,
) -> Target {
    Target {
        work,
        workload,
        figure,
        unit: "µs",
        embedded: Bound::Times(embedded),
        pair: Bound::Times(pair),
    }
}

const fn value(
    work: &'static str,
    workload: &'static str,
    figure: &'static str,
    unit: &'static str,
    embedded: f64,
    pair: f64,
) -> Target {
    Target {
        work,
        workload,
        figure,
        unit,
        embedded: Bound::Value(embedded),
        pair: Bound::Value(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_of_whole_words_only() {
        let target = TARGETS
            .iter()
            .find(|target| target.workload == "status ids=1")
            .unwrap();

        assert!(target.is_of("status ids=1"));
        assert!(!target.is_of("status ids=100"));
    }
}
