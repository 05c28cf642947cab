//! Attackers at the port for PDUs. Each goes on until it is dropped; what they are refused and how
//! often they are closed is their business.

use std::io;
use std::time::Duration;

use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages;
use system_tests::player::pdu::{Pdu, command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::kinds::Target;

/// Connections at a time.
const MANY: usize = 100;
/// Between two steps of one attacker.
const PACE: Duration = Duration::from_millis(20);
/// Their address, unless they have many.
const ADDRESS: u8 = 40;
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
/// Users of whom nobody else knows.
const FIRST_USER: u32 = 3_100_000_000;
/// Of one link that lists many.
pub(crate) const MANY_USERS: u32 = 200_000;

/// Does it again and again, whatever comes of it.
pub(crate) async fn again<F: Future<Output = io::Result<()>>>(mut what: impl FnMut() -> F) {
    loop {
        let _ = what().await;
        sleep(PACE).await;
    }
}

async fn connect(at: Target) -> io::Result<Connection> {
    from(at, ADDRESS).await
}

async fn from(at: Target, address: u8) -> io::Result<Connection> {
    let options = Options::from_loopback(address);
    let connection = Connection::open(at.pdu, options, watch::Sender::new(())).await?;
    connection.count_only();
    Ok(connection)
}

/// Many connect, from the loopback addresses with numbers in this range, and go.
pub(crate) async fn connections(at: Target, [first, last]: [u8; 2]) {
    again(async || {
        let mut all = Vec::new();
        for address in (first..=last).cycle().take(MANY) {
            // The kernel accepts, whatever the gateway does.
            all.push(from(at, address).await?);
        }
        Ok(())
    })
    .await;
}

/// PDUs that claim to be shorter than their header, or longer than memory.
pub(crate) async fn impossible_lengths(at: Target) {
    again(async || {
        for length in [0, 15, 1 << 31, u32::MAX] {
            let one = connect(at).await?;
            let bad = Pdu::new(command::MESSAGE, vec![0; 64]).encode_claiming(length);
            one.write(&bad).await?;
            one.closes(CLOSE_LIMIT).await;
        }
        Ok(())
    })
    .await;
}

/// Many headers that come byte by byte and never end.
pub(crate) async fn drips(at: Target) {
    let mut all = JoinSet::new();
    for _ in 0..MANY {
        all.spawn(again(move || async move {
            let one = connect(at).await?;
            let pdu = Pdu::new(command::MESSAGE, vec![0; 64]).encode();
            for byte in pdu {
                one.write(&[byte]).await?;
                sleep(10 * PACE).await;
            }
            Ok(())
        }));
    }
    all.join_all().await;
}

/// Lists and updates of which nothing can be read.
pub(crate) async fn unreadable_bodies(at: Target) {
    bodies(at, [command::ONLINE_USER_LIST, command::USER_STATUS_UPDATE]).await;
}

/// Commands that nobody knows.
pub(crate) async fn unknown_commands(at: Target) {
    bodies(at, [0x7001, 0x7002]).await;
}

async fn bodies(at: Target, commands: [u16; 2]) {
    again(async || {
        let one = connect(at).await?;
        let each = commands.map(|command| Pdu::new(command, vec![0xff; 20]).encode());
        let some = each.concat().repeat(MANY);
        for _ in 0..MANY {
            one.write(&some).await?;
            sleep(PACE).await;
        }
        Ok(())
    })
    .await;
}

/// More users than one connection may list.
pub(crate) async fn long_lists(at: Target) {
    let users: Vec<u32> = (FIRST_USER..FIRST_USER + 100_000).collect();
    let list = messages::online(&users).encode();
    again(async || {
        let one = connect(at).await?;
        one.write(&list).await?;
        one.barrier(BARRIER_LIMIT).await;
        Ok(())
    })
    .await;
}

/// So many that who wants to know of all has a lot to read.
pub(crate) async fn many_users(at: Target) {
    let users: Vec<u32> = (FIRST_USER..FIRST_USER + MANY_USERS).collect();
    let list = messages::online(&users).encode();
    again(async || {
        let one = connect(at).await?;
        one.write(&list).await?;
        one.closes(Duration::MAX).await;
        Ok(())
    })
    .await;
}
