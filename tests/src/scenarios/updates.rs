//! A client came or went: 0x070a, and the notices that follow, 0x070e before 0x0203.

use std::io;

use super::{Scenario, forwards, plays};
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::stage::Stage;
use crate::player::wire;

pub(super) fn all() -> Vec<Scenario> {
    plays![
        update_pc_online,
        update_pc_online_mac,
        update_mobile_online,
        update_mobile_online_with_pc,
        update_pc_offline_last,
        update_pc_offline_mobile_stays,
        update_one_of_two_pc_types_offline,
        update_two_logins_same_type,
        update_two_msgservers_same_type,
        update_pc_on_a_mobile_on_b,
        update_mobile_offline,
        update_leave,
        update_leave_mobile,
        update_offline_unknown_user,
        update_offline_from_other_msgserver,
        update_bad_client_type,
        update_malformed,
        update_unknown_fields_and_sid,
        update_extreme_ids,
        update_many_in_one_write,
        update_then_query_in_one_write,
        order_across_commands,
        moving_user,
    ]
}

/// Reports an update and waits for what it causes.
pub(super) async fn report(s: &Stage, name: &str, user: u32, status: Status, client: Client) {
    s.update(name, user, status, client).await;
    s.sync(name).await;
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
async fn update_pc_online(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let update = messages::update(s.uid(1), Status::Online, Client::Windows);
    s.send("A", update.sequence(555)).await;
    s.sync("A").await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// Mac counts as desktop.
async fn update_pc_online_mac(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(1), Status::Online, Client::Mac).await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// A mobile login of a user without desktop: no notice, and the user stays OFFLINE.
async fn update_mobile_online(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(0), Status::Online, Client::Ios).await;
    report(s, "A", s.uid(1), Status::Online, Client::Android).await;
    s.ask("B", &[s.uid(0), s.uid(1)]).await;
    Ok(())
}

/// A mobile login while a desktop is on: 0x070e (1), no 0x0203.
async fn update_mobile_online_with_pc(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    s.online("A", &[s.uid(1)]).await;
    s.sync("A").await;
    report(s, "B", s.uid(1), Status::Online, Client::Android).await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// The last client of a user, a desktop, goes: only 0x0203 OFFLINE.
async fn update_pc_offline_last(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(1), Status::Online, Client::Windows).await;
    report(s, "A", s.uid(1), Status::Offline, Client::Windows).await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// The last desktop goes while a mobile stays: 0x070e (0), then 0x0203 OFFLINE.
async fn update_pc_offline_mobile_stays(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let user = s.uid(1);
    let list = [
        (user, Status::Online, Client::Windows),
        (user, Status::Online, Client::Ios),
    ];
    s.list("A", &list).await;
    s.sync("A").await;
    report(s, "A", user, Status::Offline, Client::Windows).await;
    s.ask("B", &[user]).await;
    Ok(())
}

/// Windows goes while Mac stays: no notice, and the user stays ONLINE.
async fn update_one_of_two_pc_types_offline(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let user = s.uid(1);
    let list = [
        (user, Status::Online, Client::Windows),
        (user, Status::Online, Client::Mac),
    ];
    s.list("A", &list).await;
    s.sync("A").await;
    for client in [Client::Windows, Client::Mac] {
        report(s, "A", user, Status::Offline, client).await;
        s.ask("B", &[user]).await;
    }
    Ok(())
}

/// Two logins of the same type on one MsgServer: each login notifies, only the second OFFLINE does.
async fn update_two_logins_same_type(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let user = s.uid(1);
    for _ in 0..2 {
        report(s, "A", user, Status::Online, Client::Windows).await;
    }
    for _ in 0..2 {
        report(s, "A", user, Status::Offline, Client::Windows).await;
        s.ask("B", &[user]).await;
    }
    Ok(())
}

/// The same user and type on two MsgServers, then off on each in turn.
async fn update_two_msgservers_same_type(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let user = s.uid(1);
    for name in ["A", "B"] {
        report(s, name, user, Status::Online, Client::Windows).await;
    }
    for name in ["A", "B"] {
        report(s, name, user, Status::Offline, Client::Windows).await;
        s.ask("C", &[user]).await;
    }
    Ok(())
}

/// Desktop on A, mobile on B: desktop off gives 0x070e (0) and 0x0203, mobile off nothing.
async fn update_pc_on_a_mobile_on_b(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let user = s.uid(1);
    report(s, "A", user, Status::Online, Client::Windows).await;
    report(s, "B", user, Status::Online, Client::Ios).await;
    report(s, "A", user, Status::Offline, Client::Windows).await;
    s.ask("C", &[user]).await;
    report(s, "B", user, Status::Offline, Client::Ios).await;
    s.ask("C", &[user]).await;
    Ok(())
}

/// A mobile client that goes is never broadcast, with or without a desktop.
async fn update_mobile_offline(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let (one, two) = (s.uid(1), s.uid(2));
    let list = [
        (one, Status::Online, Client::Ios),
        (two, Status::Online, Client::Ios),
        (two, Status::Online, Client::Mac),
    ];
    s.list("A", &list).await;
    s.sync("A").await;
    s.update("A", one, Status::Offline, Client::Ios).await;
    s.update("A", two, Status::Offline, Client::Ios).await;
    s.ask("B", &[one, two]).await;
    Ok(())
}

/// LEAVE from a desktop: 0x070e (1) and 0x0203 with status 3; queries answer ONLINE.
async fn update_leave(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(1), Status::Leave, Client::Windows).await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// LEAVE from a mobile client without desktop: silent.
async fn update_leave_mobile(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(1), Status::Leave, Client::Android).await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// OFFLINE for a user that nobody holds: from a desktop type still 0x0203 OFFLINE, from a mobile type nothing.
async fn update_offline_unknown_user(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    report(s, "A", s.uid(1), Status::Offline, Client::Windows).await;
    report(s, "A", s.uid(2), Status::Offline, Client::Ios).await;
    s.ask("B", &[s.uid(1), s.uid(2)]).await;
    Ok(())
}

/// OFFLINE from a MsgServer that does not hold the user changes nothing; it is broadcast only when the user has no
/// desktop client.
async fn update_offline_from_other_msgserver(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let (one, two) = (s.uid(1), s.uid(2));
    let list = [
        (one, Status::Online, Client::Windows),
        (two, Status::Online, Client::Ios),
    ];
    s.list("A", &list).await;
    s.sync("A").await;
    report(s, "B", one, Status::Offline, Client::Windows).await;
    report(s, "B", two, Status::Offline, Client::Windows).await;
    report(s, "B", two, Status::Offline, Client::Ios).await;
    s.ask("C", &[one, two]).await;
    Ok(())
}

/// A client type outside the enum (0, 3, 0x10, 0x13, 0x21, large, negative): the update is dropped. The last one's low
/// 32 bits are 1, which is what counts.
async fn update_bad_client_type(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let kinds = [0, 3, 0x10, 0x13, 0x21, 0xffff_ffff, u64::MAX, (1 << 32) + 1];
    for (number, kind) in (0..).zip(kinds) {
        let body = update_body(1, s.uid(number), kind);
        s.send("A", Pdu::new(command::USER_STATUS_UPDATE, body))
            .await;
        s.sync("A").await;
    }
    let users: Vec<_> = (0..8).map(|number| s.uid(number)).collect();
    s.ask("B", &users).await;
    Ok(())
}

/// Required fields missing, an empty or a broken body: dropped, and the connection stays.
async fn update_malformed(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
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
        s.send("A", Pdu::new(command::USER_STATUS_UPDATE, body))
            .await;
        s.sync("A").await;
    }
    s.ask("B", &[s.uid(1)]).await;
    s.fact("A_open", !s["A"].is_closed());
    Ok(())
}

/// Extra fields and an odd header do not matter, and nothing of them is in the notices.
async fn update_unknown_fields_and_sid(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let body = [update_body(1, s.uid(1), 2), wire::bytes(30, b"more")].concat();
    let odd = Pdu {
        version: 2,
        flag: 3,
        service: 1,
        sequence: 1234,
        reserved: 5,
        ..Pdu::new(command::USER_STATUS_UPDATE, body)
    };
    s.send("A", odd).await;
    s.sync("A").await;
    Ok(())
}

/// User ids 0 and 0xffffffff are ordinary.
async fn update_extreme_ids(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    for user in [0, u32::MAX] {
        report(s, "A", user, Status::Online, Client::Windows).await;
        report(s, "A", user, Status::Offline, Client::Windows).await;
    }
    Ok(())
}

/// A hundred updates, drawn at random when they were recorded: `+` ONLINE, `-` OFFLINE, `~` LEAVE, the user's number,
/// then Windows, Mac, iOS or Android.
const HUNDRED_UPDATES: &str = "\
    +9M -9A ~9W ~0A -8M +11A ~8A -10M +10M ~6W ~1M ~0I +4A ~11A ~6A ~9A +5W +2A +4A ~4A \
    ~6I ~9A ~3I ~0I ~10M ~5W ~10M ~9I -1W -10A +5W -2W -6A +0W -11I ~4M +4W +1W +6I ~4M \
    ~0I -5M -6A ~6W ~8I -10M -6I ~4I +6I +6M +10I -5I ~11I ~7W ~0W -4A -9I +5M -5I -6W \
    +9M -8M ~4M -2A ~11W +9I -10M -2W -11M ~7I +1W ~3I ~2I -10W ~5M -4I -5A -6A +6M +0A \
    ~8A ~11M +11A ~11I ~5M +9I +3W +11M -9W +7W +8I +10W ~8A +9W -2I ~7W -3M +8W +3I +0A";

/// The notices of a hundred updates in one write come in the same order everywhere.
async fn update_many_in_one_write(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let mut updates = Vec::new();
    for word in HUNDRED_UPDATES.split_whitespace() {
        let (status, rest) = word.split_at(1);
        let (number, client) = rest.split_at(rest.len() - 1);
        let status = match status {
            "+" => Status::Online,
            "-" => Status::Offline,
            _ => Status::Leave,
        };
        let client = match client {
            "W" => Client::Windows,
            "M" => Client::Mac,
            "I" => Client::Ios,
            _ => Client::Android,
        };
        let number = number.parse().expect("a number stands in the middle");
        updates.extend(messages::update(s.uid(number), status, client).encode());
    }
    s.raw("A", &updates).await;
    s.sync("A").await;
    let users: Vec<_> = (0..12).map(|number| s.uid(number)).collect();
    s.ask("B", &users).await;
    Ok(())
}

/// An update and a query in one write: the sender gets 0x070e, 0x0203 and the answer in that order. A list and a query
/// likewise.
async fn update_then_query_in_one_write(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let (one, two) = (s.uid(1), s.uid(2));
    let query = messages::query(1, &[one, two], None).sequence(5);
    let update = messages::update(one, Status::Online, Client::Mac);
    let list = messages::list(&[(two, Status::Online, Client::Mac)]);
    for report in [update, list] {
        s.raw("A", &[report.encode(), query.encode()].concat())
            .await;
        s.sync("A").await;
    }
    Ok(())
}

/// Forwards, updates and answers that one connection causes keep their order everywhere.
async fn order_across_commands(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
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
    Ok(())
}

/// The usual life of a second login: desktop on A, then on B with a kick, A's goes. The user is never seen OFFLINE.
async fn moving_user(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let user = s.uid(1);
    report(s, "A", user, Status::Online, Client::Windows).await;
    s.send("B", messages::kick(user, Client::Mac)).await;
    report(s, "B", user, Status::Online, Client::Mac).await;
    report(s, "A", user, Status::Offline, Client::Windows).await;
    s.ask("C", &[user]).await;
    report(s, "B", user, Status::Offline, Client::Mac).await;
    s.ask("C", &[user]).await;
    Ok(())
}
