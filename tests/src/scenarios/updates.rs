//! A client came or went: 0x070a, and the notices that follow, 0x070e before 0x0203.

use super::script::{client, scripts};
use super::{Scenario, forwards, plays};
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = scripts! {
        // Mac counts as desktop.
        update_pc_online_mac: "open A B; A says +1M; B asks 1",
        // A mobile login of a user without desktop: no notice, and the user stays OFFLINE.
        update_mobile_online: "open A B; A says +0I +1A; B asks 0 1",
        // A mobile login while a desktop is on: 0x070e (1), no 0x0203.
        update_mobile_online_with_pc: "open A B; A lists +1W; B says +1A; B asks 1",
        // The last client of a user, a desktop, goes: only 0x0203 OFFLINE.
        update_pc_offline_last: "open A B; A says +1W -1W; B asks 1",
        // The last desktop goes while a mobile stays: 0x070e (0), then 0x0203 OFFLINE.
        update_pc_offline_mobile_stays: "open A B; A lists +1W +1I; A says -1W; B asks 1",
        // Windows goes while Mac stays: no notice, and the user stays ONLINE.
        update_one_of_two_pc_types_offline:
            "open A B; A lists +1W +1M; A says -1W; B asks 1; A says -1M; B asks 1",
        // Two logins of the same type on one MsgServer: each login notifies, only the second
        // OFFLINE does.
        update_two_logins_same_type: "open A B; A says +1W +1W -1W; B asks 1; A says -1W; B asks 1",
        // The same user and type on two MsgServers, then off on each in turn.
        update_two_msgservers_same_type:
            "open A B C; A says +1W; B says +1W; A says -1W; C asks 1; B says -1W; C asks 1",
        // Desktop on A, mobile on B: desktop off gives 0x070e (0) and 0x0203, mobile off nothing.
        update_pc_on_a_mobile_on_b:
            "open A B C; A says +1W; B says +1I; A says -1W; C asks 1; B says -1I; C asks 1",
        // A mobile client that goes is never broadcast, with or without a desktop.
        update_mobile_offline: "open A B; A lists +1I +2I +2M; A says -1I -2I; B asks 1 2",
        // LEAVE from a desktop: 0x070e (1) and 0x0203 with status 3; queries answer ONLINE.
        update_leave: "open A B; A says ~1W; B asks 1",
        // LEAVE from a mobile client without desktop: silent.
        update_leave_mobile: "open A B; A says ~1A; B asks 1",
        // OFFLINE for a user that nobody holds: from a desktop type still 0x0203 OFFLINE, from a
        // mobile type nothing.
        update_offline_unknown_user: "open A B; A says -1W -2I; B asks 1 2",
        // OFFLINE from a MsgServer that does not hold the user changes nothing; it is broadcast
        // only when the user has no desktop client.
        update_offline_from_other_msgserver: "open A B C; A lists +1W +2I; B says -1W -2W -2I; C asks 1 2",
        // The usual life of a second login: desktop on A, then on B with a kick, A's goes. The user
        // is never seen OFFLINE.
        moving_user:
            "open A B C; A says +1W; B kicks 1M; B says +1M; A says -1W; C asks 1; B says -1M; C asks 1",
    };
    all.extend(plays![
        update_pc_online,
        update_bad_client_type,
        update_malformed,
        update_unknown_fields_and_sid,
        update_extreme_ids,
        update_many_in_one_write,
        update_then_query_in_one_write,
        order_across_commands,
    ]);
    all
}

/// The body of an update, field by field.
fn update_body(status: u64, user: u32, client: u64) -> Vec<u8> {
    let fields = [
        wire::number(1, status),
        wire::number(2, user),
        wire::number(3, client),
    ];
    fields.concat()
}

/// First desktop login: all connections, the sender too, get 0x070e (1), then 0x0203 ONLINE.
async fn update_pc_online(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let update = messages::update(s.uid(1), Status::Online, Client::Windows);
    s.say("A", update.sequence(555)).await;
    s.ask("B", &[s.uid(1)]).await;
}

/// A client type outside the enum (0, 3, 0x10, 0x13, 0x21, large, negative): the update is dropped.
/// The last one's low 32 bits are 1, which is what counts.
async fn update_bad_client_type(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let kinds = [0, 3, 0x10, 0x13, 0x21, 0xffff_ffff, u64::MAX, (1 << 32) + 1];
    for (number, kind) in (0..).zip(kinds) {
        let body = update_body(1, s.uid(number), kind);
        s.say("A", Pdu::new(command::USER_STATUS_UPDATE, body))
            .await;
    }
    let users: Vec<_> = (0..8).map(|number| s.uid(number)).collect();
    s.ask("B", &users).await;
}

/// Required fields missing, an empty or a broken body: dropped, and the connection stays.
async fn update_malformed(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let user = wire::number(2, s.uid(1));
    let (status, client) = (wire::number(1, 1u32), wire::number(3, 1u32));
    let malformed = [
        Vec::new(),
        [&status[..], &user].concat(),
        [&status[..], &client].concat(),
        [&user[..], &client].concat(),
        vec![0x08],
        [&status[..], &user, &client, b"\x0f"].concat(),
        [&wire::bytes(1, b"1")[..], &user, &client].concat(),
    ];
    for body in malformed {
        s.say("A", Pdu::new(command::USER_STATUS_UPDATE, body))
            .await;
    }
    s.ask("B", &[s.uid(1)]).await;
    s.fact("A_open", !s["A"].is_closed());
}

/// Extra fields and an odd header do not matter, and nothing of them is in the notices.
async fn update_unknown_fields_and_sid(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let body = [update_body(1, s.uid(1), 2), wire::bytes(30, b"more")].concat();
    let odd = Pdu {
        version: 2,
        flag: 3,
        service: 1,
        sequence: 1234,
        reserved: 5,
        ..Pdu::new(command::USER_STATUS_UPDATE, body)
    };
    s.say("A", odd).await;
}

/// User ids 0 and 0xffffffff are ordinary.
async fn update_extreme_ids(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for user in [0, u32::MAX] {
        s.say("A", messages::update(user, Status::Online, Client::Windows))
            .await;
        s.say(
            "A",
            messages::update(user, Status::Offline, Client::Windows),
        )
        .await;
    }
}

/// A hundred updates, drawn at random when they were recorded, in the words of a
/// [`script`](super::script).
const HUNDRED_UPDATES: &str = "\
    +9M -9A ~9W ~0A -8M +11A ~8A -10M +10M ~6W ~1M ~0I +4A ~11A ~6A ~9A +5W +2A +4A ~4A \
    ~6I ~9A ~3I ~0I ~10M ~5W ~10M ~9I -1W -10A +5W -2W -6A +0W -11I ~4M +4W +1W +6I ~4M \
    ~0I -5M -6A ~6W ~8I -10M -6I ~4I +6I +6M +10I -5I ~11I ~7W ~0W -4A -9I +5M -5I -6W \
    +9M -8M ~4M -2A ~11W +9I -10M -2W -11M ~7I +1W ~3I ~2I -10W ~5M -4I -5A -6A +6M +0A \
    ~8A ~11M +11A ~11I ~5M +9I +3W +11M -9W +7W +8I +10W ~8A +9W -2I ~7W -3M +8W +3I +0A";

/// The notices of a hundred updates in one write come in the same order everywhere.
async fn update_many_in_one_write(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let mut updates = Vec::new();
    for word in HUNDRED_UPDATES.split_whitespace() {
        let (user, status, client) = client(s, word);
        updates.extend(messages::update(user, status, client).encode());
    }
    s.raw("A", &updates).await;
    s.sync("A").await;
    let users: Vec<_> = (0..12).map(|number| s.uid(number)).collect();
    s.ask("B", &users).await;
}

/// An update and a query in one write: the sender gets 0x070e, 0x0203 and the answer in that order.
/// A list and a query likewise.
async fn update_then_query_in_one_write(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let (one, two) = (s.uid(1), s.uid(2));
    let query = messages::query(1, &[one, two], None).sequence(5);
    let update = messages::update(one, Status::Online, Client::Mac);
    let list = messages::list(&[(two, Status::Online, Client::Mac)]);
    for report in [update, list] {
        s.raw("A", &[report.encode(), query.encode()].concat())
            .await;
        s.sync("A").await;
    }
}

/// Forwards, updates and answers that one connection causes keep their order everywhere.
async fn order_across_commands(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let user = s.uid(1);
    let mut all = Vec::new();
    for round in 0..10u16 {
        let first = 10 * round;
        let pdus = [
            forwards::single_message().sequence(first),
            messages::update(user, Status::Online, Client::Windows),
            messages::sign_info(user, "s").sequence(first + 1),
            messages::query(user, &[user], None).sequence(first + 2),
            messages::update(user, Status::Offline, Client::Windows),
            messages::read(user, 1, round.into()).sequence(first + 3),
        ];
        all.extend(pdus.iter().flat_map(Pdu::encode));
    }
    s.raw("A", &all).await;
    s.sync("A").await;
}
