//! Whose link is it: what happens to connections of MsgServers is in the log and in metrics, and what cannot be told apart
//! is said once, with the remedy.

use bytes::Bytes;
use system_tests::deployment::{Deployment, FanOut, Setup, probes};
use system_tests::player::connection::{Connection, Ending, Options};
use system_tests::player::messages::{self, GROUP_TEXT};
use system_tests::player::pdu::{command, command_of};

use crate::{SOON, line, says};

const TRANSITIONS: &str = "teamtalk_route_links_transitions_total";

/// A MsgServer of these users, from the loopback address with this last number.
async fn connect(servers: &Deployment, last: u8, claims: bool, users: &[u32]) -> Connection {
    let (address, list) = (servers.pdu_address(), messages::online(users));
    let connection =
        Connection::of_msg_server(address, Options::from_loopback(last), claims, &list);
    connection.await.expect("the server accepts")
}

/// A MsgServer with a name loses its claimed connection, and claims the other one. One without a name connects anew before
/// the end of its old connection is known. One with a single user ends.
#[tokio::test]
async fn what_happens_to_links_is_said_and_counted() {
    let flags = ["--msg-server=msg-1=127.0.0.2"];
    let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, &flags).await;
    let server = &servers.processes()[0];
    let mut primary = connect(&servers, 2, true, &[2, 3]).await;
    let other = connect(&servers, 2, false, &[2, 3]).await;
    primary.close(Ending::Fin).await;
    says(server, "link leaves_seat").await;
    let claim = messages::role(1).encode();
    other.write(&claim).await.expect("it is open");
    says(server, "link succeeds").await;

    let _old = connect(&servers, 6, true, &[60, 61]).await;
    let _new = connect(&servers, 6, true, &[60, 61]).await;

    let mut claimed = connect(&servers, 7, true, &[70]).await;
    let mut spare = connect(&servers, 7, false, &[70]).await;
    claimed.close(Ending::Fin).await;
    says(server, "link leaves_seat\",\"msg_server\":\"127.0.0.7").await;
    spare.close(Ending::Fin).await;

    for (kind, msg_server, names_other) in [
        ("claims", "msg-1", false),
        ("leaves_seat", "msg-1", false),
        ("succeeds", "msg-1", true),
        ("supersedes", "127.0.0.6", true),
        ("seat_ends", "127.0.0.7", false),
    ] {
        says(server, &format!("link {kind}")).await;
        let line = line(&servers.output(), &format!("link {kind}"));
        for told in [
            "\"INFO\"",
            &format!("\"msg_server\":\"{msg_server}\""),
            "\"link\":\"",
            "\"peer\":\"127.0.0.",
            "\"sessions\":",
            "\"left_out\":0",
        ] {
            assert!(line.contains(told), "{told} is not in {line}");
        }
        assert_eq!(line.contains("\"other\":\""), names_other, "{line}");
        let labels = format!("kind=\"{kind}\"");
        let counted = probes::labelled_metric(servers.gateway_probes(), TRANSITIONS, &labels);
        let counted = counted.await.expect("it is scraped");
        assert!(counted >= 1.0, "{kind}: {counted}");
    }
}

/// Without a name, a MsgServer with two addresses counts as two: the log says so, and what to do. With one it is one.
#[tokio::test]
async fn one_msg_server_with_two_addresses_is_said_or_named() {
    const USERS: [u32; 5] = [11, 12, 13, 14, 15];
    const WARNING: &str = "two links hold the same users";
    for (flags, copies) in [
        (&[][..], 1),
        (&["--msg-server=m=127.0.0.3,127.0.0.4"][..], 0),
    ] {
        let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, flags).await;
        let claimed = connect(&servers, 3, true, &USERS).await;
        let other = connect(&servers, 4, false, &USERS).await;
        let stranger = connect(&servers, 5, true, &[20]).await;
        let group = messages::message(11, 900, 1, GROUP_TEXT, "to a group").encode();
        claimed.write(&group).await.expect("it is open");
        assert!(claimed.barrier(SOON).await && other.barrier(SOON).await);
        assert_eq!(messages_to(&other).len(), copies, "its own");
        let group = messages::message(20, 900, 2, GROUP_TEXT, "to a group").encode();
        stranger.write(&group).await.expect("it is open");
        assert!(stranger.barrier(SOON).await);
        assert!(claimed.barrier(SOON).await && other.barrier(SOON).await);
        let came = messages_to(&claimed).len() + messages_to(&other).len();
        assert_eq!(came, 1 + 2 * copies);

        let output = servers.output();
        let warnings = output.lines().filter(|it| it.contains(WARNING));
        assert_eq!(warnings.count(), copies, "{output}");
        if copies > 0 {
            let line = line(&output, WARNING);
            for told in [
                "\"WARN\"",
                "\"link\":\"",
                "\"other\":\"",
                "\"peer\":\"127.0.0.4:",
                "--msg-server NAME=IP,IP",
            ] {
                assert!(line.contains(told), "{told} is not in {line}");
            }
        }
    }
}

/// The chat messages that it was sent.
fn messages_to(connection: &Connection) -> Vec<Bytes> {
    let mut received = connection.received();
    received.retain(|raw| command_of(raw) == command::MESSAGE);
    received
}
