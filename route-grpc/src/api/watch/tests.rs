use opentelemetry::global::meter;
use route_core::{ChangeReason, PresenceChange, Status as Presence, Summary, UserId};
use route_proto::v1::WatchUserStatusRequest;
use route_runtime::budget::Budget;
use route_runtime::shutdown::Shutdown;

use super::*;
use crate::settings::NodeSettings;

/// More of them than one page holds.
#[tokio::test]
async fn what_was_merged_comes_in_order_in_pages_of_bounded_size() {
    const CHANGES: u64 = 10_000;
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let settings = NodeSettings::default();
    let node = Node::start(settings, Budget::new(None), &meter("test"), shutdown);
    let asked = Asked::from(WatchUserStatusRequest {
        all_users: true,
        ..WatchUserStatusRequest::default()
    });
    let mut watch = Watch::open(node, &asked, None, Share::default()).expect("there is room");
    let told: Vec<Told> = (1..=CHANGES).map(merged).collect();

    let mut page = watch.tell_on(told.into_iter());
    let mut pages = vec![page.len()];
    while let Next::Told(rest) = std::mem::replace(&mut watch.next, Next::Changes) {
        let more = watch.tell_on(rest);
        pages.push(more.len());
        page.extend(more);
    }

    // One more answer than fits is in it.
    let longest = PAGE_BYTES / ANSWER_BYTES + 1;
    assert!(pages.iter().all(|answers| *answers <= longest), "{pages:?}");
    let users = page.into_iter().map(|answer| {
        let answer = answer.expect("nothing is wrong");
        let Some(Message::Change(change)) = answer.message else {
            panic!("not a change: {answer:?}");
        };
        u64::from(change.user.expect("somebody").user_id)
    });
    assert!(users.eq(1..=CHANGES));
}

/// The change at this position, of a user of the same number.
fn merged(position: u64) -> Told {
    let change = PresenceChange {
        user: UserId(position as u32),
        before: Summary::OFFLINE,
        after: Summary {
            status: Presence::Online,
            ..Summary::OFFLINE
        },
        sessions: None,
        reason: ChangeReason::Login,
    };
    Told {
        position,
        at: Duration::ZERO,
        change,
        merged: 3,
    }
}
