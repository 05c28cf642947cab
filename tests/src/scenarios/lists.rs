//! These users are here: 0x0708.

use prost::Message;

use super::script::scripts;
use super::{Scenario, plays};
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = scripts! {
        // Desktop users are ONLINE, mobile-only users OFFLINE. A list is not broadcast.
        online_list_types: "open A B C; A lists +1W +2M +3I +4A; A asks 1 2 3 4; B asks 1 2 3 4",
        // In a list LEAVE counts as online, and an OFFLINE entry makes nobody online.
        online_list_statuses: "open A B; A lists ~1W -2W ~3I; B asks 1 2 3",
        // An empty list is accepted and changes nothing.
        online_list_empty: "open A B; A lists +1W; A lists; B asks 1",
        // A second list adds to the first; users missing from it stay.
        online_list_is_additive: "open A B; A lists +1W; A lists +2W; B asks 1 2",
        // An OFFLINE entry in a later list takes one login of that client away.
        online_list_offline_entry_logs_out: "open A B; A lists +1W +2W; A lists -1W; B asks 1 2",
        // The same client twice is two logins: it takes two OFFLINE to end them.
        online_list_duplicates_count: "open A B; A lists +1W +1W; A says -1W; B asks 1; A says -1W; B asks 1",
    };
    all.extend(plays![
        online_list_malformed,
        online_list_100k,
        online_list_unknown_fields,
        online_list_wrong_service_id,
    ]);
    all
}

/// A truncated list is dropped whole, and the connection stays.
async fn online_list_malformed(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let users: Vec<_> = (0..5).map(|number| s.uid(number)).collect();
    let body = messages::online(&users).body;
    let cut_off = body.slice(..body.len() - 2);
    let trailing = [&body[..], b"\xff"].concat();
    s.send("A", Pdu::new(command::ONLINE_USER_LIST, cut_off))
        .await;
    s.say("A", Pdu::new(command::ONLINE_USER_LIST, trailing))
        .await;
    s.ask("B", &users).await;
    s.fact("A_open", !s["A"].is_closed());
}

/// A list of 100 000 users in one PDU, then spot checks.
async fn online_list_100k(s: &mut Stage) {
    const FIRST: u32 = 3_000_000_000;
    const COUNT: u32 = 100_000;
    s.open(&["A", "B"]).await;
    let list: Vec<_> = (FIRST..FIRST + COUNT)
        .map(|user| {
            let client = if user % 2 == 1 {
                Client::Windows
            } else {
                Client::Ios
            };
            (user, Status::Online, client)
        })
        .collect();
    s.say("A", messages::list(&list)).await;
    let some: Vec<_> = (FIRST..FIRST + COUNT).step_by(9_999).collect();
    s.ask("B", &some).await;
    s.ask("B", &[FIRST - 1, FIRST + COUNT]).await;
}

/// Unknown fields, in the list and in its entries, are skipped.
async fn online_list_unknown_fields(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let entry = messages::list_entry((s.uid(1), Status::Online, Client::Mac));
    let entry = [entry.encode_to_vec(), wire::bytes(9, b"x")].concat();
    let body = [wire::bytes(1, entry), wire::number(7, 1u32)].concat();
    s.say("A", Pdu::new(command::ONLINE_USER_LIST, body)).await;
    s.ask("B", &[s.uid(1)]).await;
}

/// The service id of a list is not checked.
async fn online_list_wrong_service_id(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let list = messages::list(&[(s.uid(1), Status::Online, Client::Mac)]);
    s.say("A", list.service(3)).await;
    s.ask("B", &[s.uid(1)]).await;
}
