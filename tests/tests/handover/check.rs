//! What has to be true at the end of every schedule, beside what is checked on the way.

use std::collections::BTreeSet;

use crate::msg_server::{MOVERS, home, is_stable};
use crate::world::{To, World};

/// Checks everything. What two checks would say of one fault is said twice.
pub(crate) fn all(world: &mut World) {
    messages(world);
    notices(world);
    logins(world);
    subscriber(world);
}

/// Promise 5: what a gateway has read reaches everybody who should have it. That nothing comes twice or out of order was
/// checked when it came.
fn messages(world: &mut World) {
    let mut lost = Vec::new();
    for (id, message) in (0u32..).zip(&world.messages) {
        if !message.accepted || message.lost {
            continue;
        }
        for (number, server) in world.servers.iter().enumerate() {
            let concerned = match message.to {
                To::Group => !server.http,
                To::User(user) => is_stable(user) && home(user) == number,
            };
            let must = concerned && message.server != number && server.is_strict();
            if must && !server.messages.contains_key(&id) {
                lost.push(format!(
                    "message {id} of connection {} is lost for MsgServer {number}",
                    message.connection
                ));
            }
        }
    }
    lost.into_iter().for_each(|what| world.violate(what));
}

/// Promise 6: notices tell of real changes and of nothing else. A user with one client goes on and off by turns, and what
/// was said last is true; where no connection was lost, every change was told once.
fn notices(world: &mut World) {
    let mut wrong = Vec::new();
    for (number, server) in world.servers.iter().enumerate() {
        if server.http || !server.is_strict() {
            continue;
        }
        let users = world.changes.keys().chain(server.notices.keys());
        let mut users: Vec<u32> = users.copied().collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            let told = server.notices.get(&user).map_or(&[][..], Vec::as_slice);
            let of =
                |what: &str| format!("MsgServer {number} was told of {user}: {told:?}, {what}");
            let online = world.servers.iter().any(|s| s.online.contains(&user));
            if user >= MOVERS {
                // A MsgServer that comes back lists its users, and a list causes no notices.
                let mut holders = world.servers.iter().filter(|s| s.online.contains(&user));
                if holders.any(|holder| holder.interrupted) {
                    continue;
                }
                if told.last().is_some_and(|last| *last != online) {
                    wrong.push(of(&format!("in the end it is {online}")));
                }
                let moves = world.moves.get(&user).copied().unwrap_or_default();
                if told.len() > moves && !world.servers.iter().any(|s| s.lossy) {
                    wrong.push(of(&format!("there were {moves} changes")));
                }
                continue;
            }
            let holder = &world.servers[home(user)];
            if holder.interrupted {
                continue;
            }
            let changes = world.changes.get(&user).map_or(&[][..], Vec::as_slice);
            if holder.gateways.len() == 1 && !holder.lossy {
                if told != changes {
                    wrong.push(of(&format!("the changes were {changes:?}")));
                }
                continue;
            }
            let began = world.began_online.contains(&user);
            let mut last = began;
            for next in told {
                if *next == last {
                    wrong.push(of(&format!("it began as {began}")));
                    break;
                }
                last = *next;
            }
            if last != online {
                wrong.push(of(&format!("in the end it is {online}")));
            }
        }
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// The same of 0x070e, which goes to the links that hold the user: here, the user's own MsgServer, at each login.
fn logins(world: &mut World) {
    let mut wrong = Vec::new();
    for (user, changes) in &world.changes {
        let server = &world.servers[home(*user)];
        if server.gateways.len() > 1 || !server.is_strict() {
            continue;
        }
        let told = server.logins.get(user).map_or(&[][..], Vec::as_slice);
        let logins = changes.iter().filter(|on| **on).count();
        if told.len() != logins || told.contains(&false) {
            wrong.push(format!(
                "MsgServer {} was told of logins of {user}: {told:?}, there were {logins}",
                home(*user)
            ));
        }
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// Promises 6 and 9 for a service that follows over the API: it is never told that somebody is offline who is not, in the
/// end it knows what MsgServers reported, and it saw each message since its last gap, once, in order per origin.
fn subscriber(world: &mut World) {
    let book = world.subscriber.book();
    let mut wrong = book.wrong.clone();
    let strict = |user: u32| is_stable(user) && world.servers[home(user)].is_strict();
    for (at, user) in &book.offline {
        if strict(*user) {
            wrong.push(format!("the subscriber saw {user} go offline at {at:?}"));
        }
    }
    for (at, online) in &book.snapshots {
        if *at < world.all_known_since {
            continue;
        }
        let all = world.servers.iter().flat_map(|server| &server.online);
        for user in all.filter(|user| strict(**user) && !online.contains(user)) {
            wrong.push(format!("the subscriber's snapshot of {at:?} lacks {user}"));
        }
    }
    let reported: BTreeSet<u32> = world
        .servers
        .iter()
        .flat_map(|s| s.online.clone())
        .collect();
    if book.online != reported {
        let online = &book.online;
        wrong.push(format!(
            "the subscriber has {online:?}, online are {reported:?}"
        ));
    }
    for (id, message) in (0u32..).zip(&world.messages) {
        let due =
            message.accepted && !message.lost && book.since.is_some_and(|at| message.sent > at);
        if due && !book.seen.contains(&id) {
            wrong.push(format!("message {id} is lost for the subscriber"));
        }
    }
    drop(book);
    wrong.into_iter().for_each(|what| world.violate(what));
}
