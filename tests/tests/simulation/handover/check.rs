//! What has to be true at the end of every schedule, beside what is checked on the way.

use std::collections::{BTreeMap, BTreeSet};

use route_grpc::settings::NotifyOnLoss;
use route_proto::v1::ChangeReason;

use crate::handover::msg_server::{MOVERS, MsgServer, STABLE, USERS, home, is_stable, user};
use crate::handover::subscriber::Subscriber;
use crate::handover::world::World;
use crate::subscriber::archive::Change;

/// Checks everything. What two checks would say of one fault is said twice.
pub(crate) fn all(world: &mut World) {
    messages(world);
    notices(world);
    logins(world);
    losses(world);
    reasons(world);
    subscriber(world);
    subscribers(world);
    if !world.kicks.is_empty() {
        world.violate("somebody was kicked by nobody".to_owned());
    }
}

/// Promise 5: what a gateway has read reaches everybody who should have it. That nothing comes
/// twice or out of order was checked when it came.
fn messages(world: &mut World) {
    let mut lost = Vec::new();
    let missing = world.messages.missing();
    for (id, message) in missing.filter(|(_, message)| message.note.counts()) {
        for number in message
            .due
            .iter()
            .filter(|it| world.servers[**it].is_strict())
        {
            lost.push(format!(
                "message {id} of connection {} is lost for MsgServer {number}",
                message.line
            ));
        }
    }
    lost.into_iter().for_each(|what| world.violate(what));
}

/// Promise 6: notices tell of real changes and of nothing else. A user with one client goes on and
/// off by turns, and what was said last is true; where no connection was lost, every change was
/// told once.
#[expect(
    clippy::too_many_lines,
    reason = "one rule for each user, beside what bends it"
)]
fn notices(world: &mut World) {
    let mut wrong = Vec::new();
    let tells_losses = world.settings.notify_on_loss == NotifyOnLoss::All;
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
            let again = world.doubts.of(user);
            if user >= MOVERS {
                // A MsgServer that comes back lists its users, and a list causes no notices.
                let mut holders = world.servers.iter().filter(|s| s.online.contains(&user));
                let vanished = |server: &MsgServer| tells_losses && server.lossy;
                if holders.any(|holder| holder.interrupted || vanished(holder)) {
                    continue;
                }
                // Who left while nobody read it is gone with the connection, and that is not told.
                let left_unheard = !online && !tells_losses && world.doubts.is_unread(user);
                if told.last().is_some_and(|last| *last != online) && !left_unheard {
                    wrong.push(of(&format!("in the end it is {online}")));
                }
                let moves = world.moves.get(&user).copied().unwrap_or_default();
                let vanished = |s: &MsgServer| s.lossy || (tells_losses && s.interrupted);
                if told.len() > moves + again && !world.servers.iter().any(vanished) {
                    wrong.push(of(&format!("there were {moves} changes")));
                }
                continue;
            }
            let holder = &world.servers[home(user)];
            let is_doubtful = holder.is_in_doubt() || (tells_losses && holder.lossy);
            if holder.interrupted || is_doubtful {
                continue;
            }
            let changes = world.changes.get(&user).map_or(&[][..], Vec::as_slice);
            if holder.is_single() && !holder.lossy && again == 0 {
                if told != changes {
                    wrong.push(of(&format!("the changes were {changes:?}")));
                }
                continue;
            }
            let began = world.began_online.contains(&user);
            let (mut last, mut repeated) = (began, 0);
            for next in told {
                repeated += usize::from(*next == last);
                last = *next;
            }
            if repeated > again {
                wrong.push(of(&format!(
                    "it began as {began}, and {again} may come again"
                )));
            }
            if told.len() - repeated.min(told.len()) > changes.len() {
                wrong.push(of(&format!("the changes were {changes:?}")));
            }
            if last != online {
                wrong.push(of(&format!("in the end it is {online}")));
            }
        }
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// The same of 0x070e, which goes to the links that hold the user: here, the user's own MsgServer,
/// at each login.
fn logins(world: &mut World) {
    let mut wrong = Vec::new();
    for (user, changes) in &world.changes {
        let server = &world.servers[home(*user)];
        if !server.is_single() || !server.is_strict() {
            continue;
        }
        let told = server.logins.get(user).map_or(&[][..], Vec::as_slice);
        let logins = changes.iter().filter(|on| **on).count();
        let again = world.doubts.of(*user);
        let misses_the_last = told.is_empty() && changes.last() == Some(&true);
        let fits = match again {
            0 => told.len() == logins,
            again => told.len() <= logins + again && !misses_the_last,
        };
        if !fits || told.contains(&false) {
            wrong.push(format!(
                "MsgServer {} was told of logins of {user}: {told:?}, there were {logins}",
                home(*user)
            ));
        }
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// Promise 7 and `--notify-on-loss`: a loss of users causes notices if that is wanted, and none if
/// it is not.
fn losses(world: &mut World) {
    let mut wrong = Vec::new();
    let tells_losses = world.settings.notify_on_loss == NotifyOnLoss::All;
    let (end, life) = (world.now(), world.lives_of_nodes);
    for (number, server) in world.servers.iter().enumerate() {
        if server.http || !server.is_strict() {
            continue;
        }
        for (at, holder) in world.servers.iter().enumerate() {
            if at == number || holder.http {
                continue;
            }
            let facts = &world.facts;
            let (may, must) = if tells_losses {
                let may = facts.endings(at, end) + facts.losses(at, end);
                let must = facts.certain(at, life, false) + facts.certain(at, life, true);
                (may, must)
            } else {
                (0, 0)
            };
            for user in (0..USERS).map(|number| user(at, number)) {
                let told = server.notices.get(&user).map_or(&[][..], Vec::as_slice);
                let count = told.iter().filter(|on| !**on).count();
                let most = facts.logouts(user, end) + may + world.doubts.of(user);
                let least = if is_stable(user) { must } else { 0 };
                if (count > most && !holder.may_tell_twice()) || count < least {
                    wrong.push(format!(
                        "MsgServer {number} was told {count} times that {user} is gone: {told:?}, \
                         should be {least} to {most} times"
                    ));
                }
            }
        }
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// The reason of each change is one that there was, and no change is told more often than it had
/// reasons.
fn reasons(world: &mut World) {
    let mut wrong = Vec::new();
    let mut count = Count::new();
    let book = world.subscriber.book();
    for told in &book.told {
        let Change {
            user,
            online,
            reason,
        } = told.change;
        let times = count
            .entry((told.life, user, online, reason.into()))
            .or_default();
        *times += 1;
        if user >= MOVERS {
            continue;
        }
        let (facts, at, server) = (&world.facts, told.at, home(user));
        let shared = !world.is_alone(server) || facts.openings(server, at) > 1;
        let there_were = match (reason, online) {
            // A gateway that was given up tells it again.
            (ChangeReason::Login | ChangeReason::Logout, _)
                if facts.losses(server, at) > 0 || world.servers[server].came_back_twice() =>
            {
                usize::MAX
            }
            (ChangeReason::Login, true) => facts.logins(user, at),
            (ChangeReason::Logout, false) => facts.logouts(user, at),
            (ChangeReason::Listed, true) => {
                // A gateway that was given up comes back with its tables.
                facts.openings(server, at) + facts.losses(server, at)
            }
            (ChangeReason::LinkClosed, false) => facts.endings(server, at),
            // The node may not have heard of the end before the gateway was lost.
            (ChangeReason::GatewayLost, false) => {
                facts.losses(server, at) + facts.endings(server, at)
            }
            (ChangeReason::Standing, _) if shared => usize::MAX,
            (
                // Nobody is away, and no connection is idle for so long.
                ChangeReason::Unspecified
                | ChangeReason::Away
                | ChangeReason::Back
                | ChangeReason::TimedOut
                // The others, where they say what they cannot.
                | ChangeReason::Login
                | ChangeReason::Logout
                | ChangeReason::Listed
                | ChangeReason::LinkClosed
                | ChangeReason::GatewayLost
                | ChangeReason::Standing,
                _,
            ) => 0,
        };
        if *times > there_were {
            wrong.push(format!(
                "at {at:?} the subscriber was told {times} times that {user} is online: {online}, \
                 because of {reason:?}, which happened {there_were} times"
            ));
        }
    }
    wrong.extend(untold_losses(world, &count, book.gaps > 0));
    drop(book);
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// How often a subscriber was told by a life of the node that a user is online, or not, for a reason.
type Count = BTreeMap<(u64, u32, bool, i32), usize>;

/// Losses of MsgServers' only connections of which the present node must have told. `with_gaps`: the
/// subscriber may have missed something.
fn untold_losses(world: &World, count: &Count, with_gaps: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let life = world.node.as_ref().map_or(0, |host| host.life);
    let certain = |at, lost| world.facts.certain(at, world.lives_of_nodes, lost);
    for at in 0..world.servers.len() - 1 {
        let (closed, lost) = (certain(at, false), certain(at, true));
        for user in (0..STABLE).map(|number| user(at, number)) {
            let told = |reason: ChangeReason| {
                let told = count.get(&(life, user, false, reason.into()));
                told.copied().unwrap_or_default()
            };
            let told = (
                told(ChangeReason::LinkClosed),
                told(ChangeReason::GatewayLost),
            );
            // A gateway may be lost before the node has heard of a connection's end.
            let all = told.1 >= lost && told.0 + told.1 >= closed + lost;
            if !all && !with_gaps {
                wrong.push(format!(
                    "of {user} the subscriber was told {told:?} times that a connection was closed, and that a \
                     gateway was lost; that happened {closed} and {lost} times"
                ));
            }
        }
    }
    wrong
}

/// Promise 9: what a subscriber has followed is what there was, and snapshots agree with it and
/// with each other.
fn subscribers(world: &mut World) {
    let books = std::iter::once(&world.subscriber).chain(&world.slow_subscriber);
    let mut stretches = Vec::new();
    for book in books.map(Subscriber::book) {
        stretches.extend(book.stretches.clone());
    }
    let mut wrong = world.archive.lock().check(stretches);
    if let Some(slow) = &world.slow_subscriber {
        wrong.append(&mut slow.book().wrong);
    }
    wrong.into_iter().for_each(|what| world.violate(what));
}

/// Promises 6 and 9 for a service that follows over the API: it is never told that somebody is
/// offline who is not, in the end it knows what MsgServers reported, and it saw each message since
/// its last gap, once, in order per origin.
fn subscriber(world: &mut World) {
    let book = world.subscriber.book();
    let mut wrong = book.wrong.clone();
    let strict = |user: u32| is_stable(user) && world.servers[home(user)].is_strict();
    for told in &book.told {
        let (at, Change { user, online, .. }) = (told.at, told.change);
        if !online && strict(user) {
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
    for (id, message) in world.messages.all() {
        let sent = &message.note;
        let due = sent.counts() && book.since.is_some_and(|at| sent.at > at);
        if due && !book.seen.contains(&id) {
            wrong.push(format!("message {id} is lost for the subscriber"));
        }
    }
    drop(book);
    wrong.into_iter().for_each(|what| world.violate(what));
}
