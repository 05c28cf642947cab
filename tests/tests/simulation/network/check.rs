//! What has to be true at the end of every schedule.

use system_tests::cast::population::{self, SERVERS, STAYING};

use crate::network::board::Board;

pub(crate) fn all(board: &Board) {
    msg_servers(board);
    subscriber(board);
}

/// Promises 1 and 4 to 6: everything came once and in order; answers and notices are right.
fn msg_servers(board: &Board) {
    let tally = board.judge.with(|judge| judge.conclude());
    for (count, what) in [
        (tally.lost, "lost"),
        (tally.twice, "twice"),
        (tally.disordered, "out of order"),
        (tally.false_offline, "falsely offline"),
        (tally.wrong_answers, "answered wrongly"),
        (tally.wrong_notices, "notices wrong"),
    ] {
        if count > 0 {
            board.violate(format!("{count} {what}: {:?}", tally.deviations));
        }
    }
    if tally.messages < 30 || tally.queries == 0 {
        board.violate(format!("too little has happened: {tally:?}"));
    }
}

/// Promises 6 and 9 over the API.
fn subscriber(board: &Board) {
    let mut wrong = subscriber_lacks(board);
    let book = board.book.lock();
    wrong.extend_from_slice(&book.wrong);
    wrong.extend(board.archive.lock().check(book.stretches.clone()));
    for told in book.told.iter().filter(|told| !told.change.online) {
        let (at, user) = (told.at, told.change.user);
        let strict = |(server, number)| number < STAYING && !board.is_excused(server);
        if population::home(user).is_some_and(strict) {
            wrong.push(format!("the subscriber saw {user} go offline at {at:?}"));
        }
    }
    drop(book);
    wrong.into_iter().for_each(|what| board.violate(what));
}

/// What the subscriber does not know, and will when it has heard everything.
pub(crate) fn subscriber_lacks(board: &Board) -> Vec<String> {
    let book = board.book.lock();
    let truth = board.judge.with(|judge| judge.online());
    let wrong = book.online.symmetric_difference(&truth);
    let wrong = wrong.map(|user| format!("the subscriber is wrong about {user}"));
    let sent = board.sent();
    let unseen = sent.into_iter().filter(|(id, (server, at))| {
        let due = !board.is_excused(*server) && book.since.is_some_and(|since| *at > since);
        due && !book.seen.contains(id)
    });
    let unseen = unseen
        .map(|(id, (server, _))| format!("message {id} of {server} is lost for the subscriber"));
    wrong.chain(unseen).collect()
}

/// No connection of a MsgServer was broken by what happened behind its gateway.
pub(crate) fn connections(board: &Board) {
    for server in 0..SERVERS {
        for at in board.broken(server) {
            board.violate(format!("MsgServer {server} lost a connection at {at:?}"));
        }
    }
}
