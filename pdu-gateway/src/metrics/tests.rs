use route_proto::attach::v1::CloseReason;
use route_runtime::telemetry::Metrics;

use super::*;
use std::time::Duration;

use crate::pdu::input::{Kind, Tally, place};

#[test]
fn what_is_counted_can_be_scraped() {
    let metrics = Metrics::new("pdu-gateway", "0").unwrap();
    let counters = Arc::new(Counters::default());
    observe(&metrics.meter(), &counters, || Levels {
        attached: true,
        ..Levels::default()
    });

    let mut tally = Tally::default();
    tally[place(Kind::Query, Some(Command::UsersStatusQuery))] = 3;
    counters.received(&tally, 100);
    counters.taken_over(Some(Command::Message), Duration::from_millis(3));
    counters.opened();
    counters.opened();
    counters.closed(CloseReason::SlowReader);
    counters.refused(Refused::Address);

    let text = metrics.render();
    for line in [
        "teamtalk_pdu_received_total{command=\"users_status_query\",kind=\"query\"} 3",
        "teamtalk_pdu_duration_seconds_bucket{command=\"message\",le=\"0.005\"} 1",
        "teamtalk_pdu_received_size_bytes_total 100",
        "teamtalk_pdu_links 1",
        "teamtalk_pdu_links_closed_total{reason=\"slow_reader\"} 1",
        "teamtalk_pdu_connections_refused_total{reason=\"address\"} 1",
        "teamtalk_pdu_attached_ratio 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_kind_has_its_name() {
    assert_eq!(KINDS[Kind::UnreadEnvelope as usize], "unread_envelope");
    assert_eq!(KINDS[Kind::Unknown as usize], "unknown");
}
