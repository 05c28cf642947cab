//! What operators ask, and the commands that answer: the section "Questions" of docs/runbook.md.

use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Setup, ports, start_node};
use system_tests::player::connection::{Connection, Ending};
use system_tests::player::messages::{self, Client, Status};
use system_tests::player::pdu::Pdu;

use crate::ended::command;
use crate::operators::{ask, ask_at, connect};
use crate::{SOON, says};

/// The MsgServers of users 1 and 2: 127.0.0.2, with two connections, and 127.0.0.3.
struct Site {
    servers: Deployment,
    a: Connection,
    spare: Connection,
    b: Connection,
}

impl Site {
    async fn start() -> Self {
        let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
        let a = connect(&servers, 2, true, &messages::online(&[1])).await;
        let spare = connect(&servers, 2, false, &messages::online(&[1])).await;
        let b = connect(&servers, 3, true, &messages::online(&[2])).await;
        Self {
            servers,
            a,
            spare,
            b,
        }
    }

    /// What the command shows.
    async fn shows(&self, arguments: &[&str]) -> String {
        let ended = ask(&self.servers, arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout
    }

    /// The links with this part, in the order of their ids.
    async fn links(&self, part: &str) -> Vec<String> {
        let part = format!("--part={part}");
        let found = ask(&self.servers, &["links", &part, "--json"]).await;
        let id = |it: &serde_json::Value| it["link"].as_str().expect("an id").to_owned();
        found.objects().iter().map(id).collect()
    }
}

async fn told(connection: &Connection, pdu: &Pdu) {
    connection.write(&pdu.encode()).await.expect("it is open");
    assert!(connection.barrier(SOON).await);
}

/// The line that begins so.
fn line<'a>(shown: &'a str, begin: &str) -> &'a str {
    let found = shown.lines().find(|it| it.starts_with(begin));
    found.unwrap_or_else(|| panic!("no line begins with {begin}:\n{shown}"))
}

#[tokio::test]
async fn why_is_1001_offline_to_windows() {
    let site = Site::start().await;
    let unknown = site.shows(&["explain", "user", "1001"]).await;
    assert!(line(&unknown, "legacy status").ends_with("offline: no session"));

    told(
        &site.a,
        &messages::update(1001, Status::Online, Client::Ios),
    )
    .await;
    let shown = site.shows(&["explain", "user", "1001"]).await;

    assert!(line(&shown, "status").ends_with("online"), "{shown}");
    assert!(line(&shown, "legacy status").ends_with("offline: mobile only"));
    let session = line(&shown, &site.links("active").await[0]);
    assert!(
        session.contains("iOS") && session.contains("update"),
        "{shown}"
    );
}

#[tokio::test]
async fn why_did_b_not_get_the_message() {
    let site = Site::start().await;
    let [a, b] = site.links("active").await.try_into().expect("two");
    let from = format!("--from={a}");

    let of_b = [
        "explain",
        "envelope",
        "message",
        "1",
        "7",
        &from,
        "--msg-server=127.0.0.3",
    ];
    let shown = site.shows(&of_b).await;

    assert!(line(&shown, "nowhere").ends_with("users 7"));
    let row = line(&shown, &b);
    assert!(
        row.contains("no") && row.contains("has no users"),
        "{shown}"
    );
}

/// What happened then is remembered, whatever is so now.
#[tokio::test]
async fn why_did_b_not_get_the_message_then() {
    let site = Site::start().await;
    let text = |to| messages::message(1, to, 1, messages::SINGLE_TEXT, "hello");
    told(&site.a, &text(7)).await;
    told(
        &site.b,
        &messages::update(7, Status::Online, Client::Windows),
    )
    .await;
    told(&site.a, &text(7)).await;

    let of_7 = ["explain", "routed", "--user=7", "--command=message"];
    let shown = site.shows(&of_7).await;

    let [_, _, second, first] = shown.lines().collect::<Vec<_>>().try_into().expect("four");
    assert!(line(&shown, "since").len() > "since".len());
    assert!(first.contains("nowhere: has no users"), "{shown}");
    assert!(first.contains("a user was on no link"), "{shown}");
    let [a, b] = site.links("active").await.try_into().expect("two");
    assert!(second.contains(&format!("127.0.0.2  {a}")), "{shown}");
    assert!(
        second.contains("127.0.0.3") && !second.contains("nowhere"),
        "{shown}"
    );
    let of_b = format!("--link={b}");
    let of_b = ["explain", "routed", "--json", "--limit=1", &of_b];
    let found = ask(&site.servers, &of_b).await.objects();
    let newest = &found[0]["envelopes"][0];
    assert_eq!(
        (&newest["senderUserId"], &newest["receiverUserId"]),
        (&1.into(), &7.into())
    );
    assert_eq!(newest["targets"][0]["link"], b.as_str());
    assert_eq!(newest["targets"][0]["outcome"], "ROUTED_OUTCOME_QUEUED");
}

#[tokio::test]
async fn who_is_told() {
    let site = Site::start().await;
    let [a, b] = site.links("active").await.try_into().expect("two");
    let from = format!("--from={a}");

    let message = site
        .shows(&["explain", "envelope", "message", "1", "2", &from])
        .await;
    assert!(line(&message, &b).contains("yes"), "{message}");
    assert!(line(&message, &a).contains("origin"), "{message}");

    let notice = site.shows(&["explain", "envelope", "status_notice"]).await;
    assert!(line(&notice, &a).contains("yes") && line(&notice, &b).contains("yes"));
}

#[tokio::test]
async fn who_was_told() {
    let site = Site::start().await;
    told(
        &site.a,
        &messages::message(1, 70, 1, messages::GROUP_TEXT, "hello"),
    )
    .await;

    let shown = site
        .shows(&["explain", "routed", "--msg-server=127.0.0.3"])
        .await;

    let row = shown.lines().last().expect("a row");
    for cell in ["message", "group 70", "127.0.0.2", "127.0.0.3"] {
        assert!(row.contains(cell), "{shown}");
    }
}

#[tokio::test]
async fn which_msg_server_is_missing() {
    let site = Site::start().await;

    let expect = "--expect=127.0.0.2,127.0.0.3,127.0.0.4";
    let found = ask(&site.servers, &["migrate", expect]).await;

    assert_eq!(found.code, 7, "{found:?}");
    found.says("127.0.0.4 is not here");
}

#[tokio::test]
async fn who_is_slow() {
    let mut site = Site::start().await;
    let [a, b] = site.links("active").await.try_into().expect("two");
    site.b.pause().await;
    let text = "a".repeat(60_000);
    let message = messages::message(1, 2, 1, messages::SINGLE_TEXT, &text).encode();

    let writer = site.a.writer().expect("it is open");
    let writing = async {
        // Until its gateway does not read it any more.
        while writer.write(&message).await.is_ok() {}
        std::future::pending::<String>().await
    };
    let looking = async {
        loop {
            let shown = site.shows(&["links", "--figures"]).await;
            let [head, first, ..] = shown.lines().collect::<Vec<_>>()[..] else {
                panic!("no rows: {shown}");
            };
            assert!(
                head.contains("QUEUED") && head.contains("STALLED"),
                "{shown}"
            );
            // What the others have to read is nothing by then.
            if first.starts_with(&b) && first.contains("MiB") && line(&shown, &a).contains("0 B") {
                return shown;
            }
        }
    };
    let shown = tokio::time::timeout(SOON, async {
        tokio::select! {
            shown = looking => shown,
            shown = writing => shown,
        }
    });
    shown.await.expect("the one that does not read comes first");
}

#[tokio::test]
async fn why_was_this_link_closed() {
    let site = Site::start().await;
    let link = &site.links("shadow").await[0];

    site.shows(&["link", link, "--close", "--reason=it is in the way"])
        .await;

    let [gateway, node] = site.servers.processes() else {
        panic!("two processes");
    };
    says(gateway, "an operator has asked for it").await;
    says(gateway, "link closed").await;
    says(node, "it is in the way").await;
    let gone = site.shows(&["link", link]).await;
    let why = "an operator closed it: it is in the way";
    assert!(line(&gone, "why").ends_with(why), "{gone}");
    assert!(line(&gone, "MsgServer").contains("127.0.0.2"), "{gone}");
}

/// All of a MsgServer that lately were, by what they closed for.
#[tokio::test]
async fn why_were_links_of_this_msg_server_closed() {
    let mut site = Site::start().await;
    let [a, _] = site.links("active").await.try_into().expect("two");
    let spare = site.links("shadow").await.remove(0);
    let closed = ["links", "--closed", "--msg-server=127.0.0.2"];
    let shows = async |site: &Site, link: &str| {
        let shown = async {
            loop {
                let shown = site.shows(&closed).await;
                if shown.contains(link) {
                    return shown;
                }
            }
        };
        let shown = tokio::time::timeout(SOON, shown).await;
        shown.expect("it has closed")
    };
    site.spare.write(&[0xff; 32]).await.expect("it is open");
    shows(&site, &spare).await;
    site.a.close(Ending::Fin).await;

    let shown = shows(&site, &a).await;

    let [_, _, newest, oldest] = shown.lines().collect::<Vec<_>>().try_into().expect("four");
    assert!(
        newest.contains(&a) && newest.contains("its MsgServer closed it"),
        "{shown}"
    );
    assert!(oldest.contains("it sent what is no PDU"), "{shown}");
    let none = site
        .shows(&["links", "--closed", "--msg-server=127.0.0.9"])
        .await;
    assert!(line(&none, "closed").contains("none of these since then"));
}

#[tokio::test]
async fn why_does_this_link_get_nothing() {
    let site = Site::start().await;
    let active = &site.links("active").await[0];
    let link = &site.links("shadow").await[0];

    let shown = site.shows(&["link", link]).await;
    assert!(line(&shown, "part").ends_with(&format!("shadow: other claimed {active}")));

    let shown = site.shows(&["explain", "envelope", "message", "1"]).await;
    assert!(line(&shown, link).contains("shadow"), "{shown}");
}

#[tokio::test]
async fn who_would_get_a_kick() {
    let mut site = Site::start().await;

    let shown = site.shows(&["explain", "envelope", "kick_user", "1"]).await;
    for link in site.links("active").await {
        assert!(line(&shown, &link).contains("yes"), "{shown}");
    }

    let kicked = site
        .shows(&["kick", "2", "--wait=0s", "--reason=in a test"])
        .await;
    assert!(line(&kicked, "kicks").ends_with('1') && line(&kicked, "left").ends_with("1 session"));
    let (gateway_and_node, _) = (site.servers.processes(), &site.b);
    says(
        gateway_and_node.last().expect("a node"),
        "\"reason\":\"in a test\"",
    )
    .await;
    site.b.close(Ending::Fin).await;
    let nobody = ask(&site.servers, &["kick", "4711"]).await;
    assert_eq!(nobody.code, 1, "{nobody:?}");
}

/// What the node says that was dropped, since it started.
async fn dropped(servers: &Deployment) -> u64 {
    let stats = ask(servers, &["stats", "--json"]).await.objects();
    let count = stats[0]["droppedCount"].as_str().expect("a count");
    count.parse().expect("a number")
}

/// Of a gateway, which crashes: it was handed two messages, and had not taken them.
#[tokio::test]
async fn what_was_lost_in_the_last_restart() {
    let soon = Surroundings::with(vec![("TT_ROUTE_DETACH_GRACE", "1s".to_owned())]);
    let servers = Deployment::start_in(&soon, Setup::TwoProcesses, FanOut::Directed, &[]).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };
    let _b = connect(&servers, 3, true, &messages::online(&[2])).await;
    assert_eq!(dropped(&servers).await, 0);

    gateway.suspend();
    let address = format!("--address={}", servers.grpc_address());
    for id in ["--message-id=1", "--message-id=2"] {
        let chat = ["publish", "chat", "--from=1", "--to=2", "--text=hello"];
        let sent = command(&[&chat[..], &[id, &address]].concat()).await;
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    gateway.kill();

    says(node, "gateway lost, its links end").await;
    says(node, "\"reason\":\"gateway_lost\"").await;
    assert_eq!(dropped(&servers).await, 2);
    let lost = ask(&servers, &["explain", "routed", "--dropped"]).await;
    let row = "127.0.0.3 (perhaps lost later: 2 were, gateway lost)";
    assert_eq!(lost.stdout.matches(row).count(), 2, "{lost:?}");
}

/// Of a MsgServer: both its connections end, and a message was held for it.
#[tokio::test]
async fn what_a_restart_of_a_msg_server_has_lost() {
    let mut site = Site::start().await;
    assert_eq!(dropped(&site.servers).await, 0);

    site.a.close(Ending::Fin).await;
    let node = site.servers.processes().last().expect("a node");
    says(node, "link leaves_seat").await;
    told(
        &site.b,
        &messages::message(2, 1, 1, messages::SINGLE_TEXT, "hello"),
    )
    .await;
    site.spare.close(Ending::Fin).await;

    says(node, "deliveries lost").await;
    assert_eq!(dropped(&site.servers).await, 1);
    let held = site.shows(&["explain", "routed", "--user=1"]).await;
    let lost = "127.0.0.2 (perhaps lost later: 1 were, ";
    assert!(held.contains(lost), "{held}");
}

#[tokio::test]
async fn why_is_the_node_not_ready() {
    let [grpc, probes] = ports::free().expect("ports");
    let node = start_node(&Surroundings::default(), grpc, probes, &[]).expect("it starts");
    says(&node, "waiting for gateways").await;

    let stats = ask_at(grpc, &["stats", "--json"]).await.objects();

    assert_eq!(stats[0]["isSynced"], false);
    let waits = stats[0]["waitsFor"].as_str().expect("a text");
    assert!(waits.starts_with("a first gateway"), "{waits}");
}

/// A process that ends answers until the connections of its MsgServers are closed, one after the other.
#[tokio::test]
async fn why_is_a_node_that_ends_not_ready() {
    let flags = ["--close-window=20s"];
    let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, &flags).await;
    let mut kept = Vec::new();
    for last in 2..8 {
        kept.push(connect(&servers, last, true, &messages::online(&[last.into()])).await);
    }
    servers.processes()[0].terminate();
    says(&servers.processes()[0], "\"draining\"").await;

    let told = async {
        loop {
            let stats = ask(&servers, &["stats"]).await;
            assert_eq!(stats.code, 0, "{stats:?}");
            if stats.stdout.starts_with("not ready: draining\n") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, told).await.expect("it says so");
}
