//! Connections that end: their users go, silently, and nobody else's.

use std::io;

use super::updates::report;
use super::{Scenario, plays};
use crate::player::connection::Ending;
use crate::player::messages::{Client, Status};
use crate::player::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    plays![
        close_removes_users,
        close_by_reset,
        close_keeps_others,
        close_and_return,
    ]
}

/// A MsgServer that held users alone closes: they are OFFLINE, nobody is told.
async fn close_removes_users(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let (one, two) = (s.uid(1), s.uid(2));
    let list = [
        (one, Status::Online, Client::Windows),
        (two, Status::Online, Client::Ios),
    ];
    s.list("A", &list).await;
    s.sync("A").await;
    s.ask("B", &[one, two]).await;
    s.close("A", Ending::Fin).await;
    s.settle().await;
    s.ask("B", &[one, two]).await;
    Ok(())
}

/// The same with a TCP reset.
async fn close_by_reset(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    s.online("A", &[s.uid(1)]).await;
    s.sync("A").await;
    s.close("A", Ending::Reset).await;
    s.settle().await;
    s.ask("B", &[s.uid(1)]).await;
    Ok(())
}

/// Users of other MsgServers are untouched by a close.
async fn close_keeps_others(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B", "C"]).await?;
    let (one, two) = (s.uid(1), s.uid(2));
    s.online("A", &[one]).await;
    s.online("B", &[two]).await;
    s.sync("A").await;
    s.sync("B").await;
    s.close("A", Ending::Fin).await;
    s.settle().await;
    s.ask("C", &[one, two]).await;
    Ok(())
}

/// A MsgServer closes and comes back with a list: its users are ONLINE once more.
async fn close_and_return(s: &mut Stage) -> io::Result<()> {
    s.open(&["A", "B"]).await?;
    let user = s.uid(1);
    s.online("A", &[user]).await;
    s.sync("A").await;
    s.close("A", Ending::Fin).await;
    s.settle().await;
    s.open(&["A2"]).await?;
    s.online("A2", &[user]).await;
    s.sync("A2").await;
    s.ask("B", &[user]).await;
    report(s, "A2", user, Status::Offline, Client::Windows).await;
    s.ask("B", &[user]).await;
    Ok(())
}
