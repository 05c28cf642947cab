//! What operators ask the admin port on the command line.

use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Setup, ports};
use system_tests::player::connection::{Connection, Ending, Options};
use system_tests::player::messages;
use system_tests::player::pdu::Pdu;

use crate::ended::{Ended, command};
use crate::{line, says};

system_tests::in_both_setups! {
    links_and_gateways: shows_links_and_gateways();
    migration: leads_a_migration();
}

/// Runs a command at the admin port of this node.
pub(crate) async fn ask(servers: &Deployment, arguments: &[&str]) -> Ended {
    ask_at(servers.grpc_address(), arguments).await
}

/// The same of the node whose public port this is.
pub(crate) async fn ask_at(public: SocketAddr, arguments: &[&str]) -> Ended {
    let port = public.port();
    let address = format!("--admin-address=unix:@teamtalk-route-admin-{port}");
    command(&[arguments, &[&address]].concat()).await
}

/// A MsgServer at 127.0.0.`last`.
pub(crate) async fn connect(
    servers: &Deployment,
    last: u8,
    claims: bool,
    list: &Pdu,
) -> Connection {
    let (address, options) = (servers.pdu_address(), Options::from_loopback(last));
    let connected = Connection::of_msg_server(address, options, claims, list).await;
    connected.expect("the server accepts")
}

async fn shows_links_and_gateways(setup: Setup) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    let users = messages::online(&[1, 2]);
    let _primary = connect(&servers, 2, true, &users).await;
    let _spare = connect(&servers, 2, false, &users).await;

    let links = ask(&servers, &["links", "--json"]).await;
    let parts: Vec<_> = links
        .objects()
        .iter()
        .map(|it| it["part"].clone())
        .collect();
    assert_eq!(parts, ["LINK_PART_ACTIVE", "LINK_PART_SHADOW"], "{links:?}");
    let shadow = &links.objects()[1];
    assert_eq!(shadow["otherLink"], links.objects()[0]["link"]);
    let table = ask(&servers, &["links", "--part=shadow"]).await.stdout;
    assert!(
        table.contains("other claimed") && table.lines().count() == 2,
        "{table}"
    );
    let figures = ask(&servers, &["links", "--figures"]).await.stdout;
    assert!(
        figures.starts_with("LINK") && figures.lines().count() == 3,
        "{figures}"
    );
    let id = shadow["link"].as_str().expect("an id");
    let details = ask(&servers, &["link", id]).await.stdout;
    assert!(
        details.contains("part          shadow: other claimed"),
        "{details}"
    );
    assert!(
        details.contains("2 sessions, 2 of them here too"),
        "{details}"
    );
    let gateways = ask(&servers, &["gateways", "--json"]).await.objects();
    assert_eq!(
        (&gateways[0]["state"], &gateways[0]["linkCount"]),
        (&json!("GATEWAY_STATE_HERE"), &json!(2))
    );
    let stats = ask(&servers, &["stats", "--json"]).await.objects();
    assert_eq!(stats[0]["shadowLinkCount"], 1);
    assert_eq!(ask(&servers, &["streams", "--json"]).await.stdout, "");

    let closed = ask(&servers, &["link", id, "--close", "--reason=in a test"]).await;
    assert_eq!(closed.code, 0, "{closed:?}");
    says(
        servers.processes().last().expect("a node"),
        "\"reason\":\"in a test\"",
    )
    .await;
    let gone = ask(&servers, &["link", id]).await;
    assert!(
        gone.stdout.contains("an operator closed it: in a test"),
        "{gone:?}"
    );
    let never = ask(&servers, &["link", "1f-1"]).await;
    assert_eq!(never.code, 1);
    never.says("there is no link");
}

#[tokio::test]
async fn a_wrong_command_line_is_told_as_everything_else() {
    let wrong = command(&["links", "--json", "--part=foo"]).await;
    assert_eq!((wrong.code, &*wrong.stdout), (2, ""), "{wrong:?}");
    let told: Json = serde_json::from_str(&wrong.stderr).expect("an object");
    assert_eq!(told["exitCode"], 2);
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|it| it.contains("--part")),
        "{told}"
    );

    for nobody in ["--expect=", "--expect-file=/dev/null"] {
        let nobody = command(&["migrate", nobody]).await;
        assert_eq!(nobody.code, 1, "{nobody:?}");
        nobody.says("no MsgServer is named there");
    }
}

#[tokio::test]
async fn a_flag_that_the_node_refuses_is_named() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    for (line, flag) in [
        (&["drain", "a", "--slot=2m"][..], "--slot <TIME>"),
        (&["kick", "1", "--wait=40s"], "--wait <TIME>"),
        (&["explain", "envelope", "nope"], "<COMMAND>"),
        (&["explain", "routed", "--user=0"], "--user <ID>"),
    ] {
        let refused = ask(&servers, &[line, &["--json"]].concat()).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        let told: Json = serde_json::from_str(&refused.stderr).expect("an object");
        let message = told["message"].as_str().expect("a text");
        assert!(message.contains(flag), "{message}");
    }
    for name in ["kick_user", "kick-user", "KickUser", "Kick"] {
        let explained = ask(&servers, &["explain", "envelope", name, "1"]).await;
        assert_eq!(explained.code, 0, "{name}: {explained:?}");
    }
}

#[tokio::test]
async fn a_msg_server_that_nobody_has_is_told() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let address = format!("--address={}", servers.grpc_address());
    let mistyped = "--msg-server=mistyped";
    for none in [
        ask(&servers, &["links", mistyped]).await,
        command(&["online", mistyped, &address]).await,
        ask(&servers, &["explain", "envelope", "message", "1", mistyped]).await,
    ] {
        assert!(
            none.stdout.contains("-- none of MsgServer mistyped"),
            "{none:?}"
        );
    }
}

#[tokio::test]
async fn the_node_that_leads_is_shown_and_those_that_are_away() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let here = servers.grpc_address().to_string();
    let [nobody] = ports::free().expect("a port");
    let nobody = nobody.to_string();

    let nodes = command(&["nodes", &here, &nobody, "--json"]).await;

    assert_eq!(nodes.code, 0, "{nodes:?}");
    let objects = nodes.objects();
    let roles: Vec<_> = objects.iter().map(|it| &it["role"]).collect();
    assert_eq!(roles, ["leader", "unreachable"], "{nodes:?}");
    assert_eq!(objects[0]["ready"], true);
    let info = &objects[0]["info"];
    assert_eq!(info["leader"]["nodeId"], info["nodeId"]);
    assert_eq!(info["leader"]["state"], "TERM_STATE_SERVING");
    let table = command(&["nodes", &format!("--address={here}")]).await;
    let row = table.stdout.lines().nth(1).expect("a row").to_owned();
    assert!(row.contains("leader") && row.contains("yes"), "{table:?}");
    let none = command(&["nodes", &nobody]).await;
    assert_eq!(none.code, 3, "{none:?}");

    let name = info["nodeId"].as_str().expect("a name");
    let stats = ask(&servers, &["stats"]).await.stdout;
    assert!(line(&stats, "node").ends_with(name), "{stats}");
}

#[tokio::test]
async fn the_only_gateway_cannot_be_drained() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let gateways = ask(&servers, &["gateways", "--json"]).await.objects();
    let id = gateways[0]["gatewayId"].as_str().expect("an id");

    let refused = ask(&servers, &["drain", id]).await;

    assert_eq!(refused.code, 1, "{refused:?}");
    refused.says("FailedPrecondition: no other gateway takes connections");
    let _still_taken = connect(&servers, 2, true, &messages::online(&[1])).await;
}

/// The rows of `migrate`: which MsgServer, how far it has come.
fn rows(ended: &Ended) -> Vec<(String, String)> {
    let text = |it: &Json| it.as_str().expect("a text").to_owned();
    let objects = ended.objects();
    objects
        .iter()
        .map(|it| (text(&it["msgServer"]), text(&it["state"])))
        .collect()
}

/// A MsgServer that has claimed, and sends no list.
async fn connect_without_list(servers: &Deployment, last: u8) -> Connection {
    let unlisted = Connection::open(
        servers.pdu_address(),
        Options::from_loopback(last),
        tokio::sync::watch::Sender::new(()),
    );
    let unlisted = unlisted.await.expect("the server accepts");
    unlisted
        .write(&messages::role(1).encode())
        .await
        .expect("it is open");
    assert!(unlisted.barrier(crate::SOON).await);
    unlisted
}

/// 127.0.0.44 is sent to the port of 127.0.0.43's MsgServer. Another one has two addresses.
#[tokio::test]
async fn a_claim_at_the_port_of_another_one_is_doubted() {
    let [port] = ports::free().expect("a free port");
    let listen = format!("--listen={port}=msg-3");
    let flags = [&*listen, "--msg-server=msg-5=127.0.0.45,127.0.0.46"];
    let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, &flags).await;
    let migrate = async || ask(&servers, &["migrate", "--expect=msg-3,msg-5", "--json"]).await;
    let at_port = async |last, claims, users: &[u32]| {
        let (options, list) = (Options::from_loopback(last), messages::online(users));
        let connected = Connection::of_msg_server(port, options, claims, &list).await;
        connected.expect("the server accepts")
    };
    let users = messages::online(&[45, 46]);
    let _one = connect(&servers, 45, true, &users).await;
    let _same = connect(&servers, 46, false, &users).await;
    let _right = at_port(43, false, &[43, 44]).await;
    let mut wrong = at_port(44, true, &[50]).await;

    let found = migrate().await;
    assert_eq!(found.code, 7, "{found:?}");
    found.says("needed: msg-3 may be two MsgServers\"");
    let objects = found.objects();
    let note = "links from 127.0.0.44 and 127.0.0.43: one MsgServer?";
    assert_eq!(objects[0]["notes"], json!([note]), "{found:?}");
    assert_eq!(objects[1]["notes"], json!([]), "{found:?}");

    wrong.close(Ending::Fin).await;
    let _claims = at_port(43, true, &[43, 44]).await;
    let found = ask(&servers, &["migrate", "--expect=msg-3,msg-5", "--wait=10s"]).await;
    assert_eq!(found.code, 0, "{found:?}");
}

#[tokio::test]
async fn a_list_of_nobody_replaces_no_other_one() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let list = std::env::temp_dir().join(format!("migrate-{}", std::process::id()));
    std::fs::write(&list, "good\n").expect("a folder");
    let save = format!("--save={}", list.display());
    let kept = ask(&servers, &["migrate", &save]).await;
    assert_eq!(kept.code, 1, "{kept:?}");
    kept.says("nothing is written: no MsgServer is here");
    assert_eq!(
        std::fs::read_to_string(&list).expect("it is kept"),
        "good\n"
    );
    std::fs::remove_file(&list).expect("it is ours");
}

/// Five MsgServers: 127.0.0.15 has its primary connection elsewhere, 127.0.0.16 speaks another dialect.
async fn leads_a_migration(setup: Setup) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    let expect = "--expect=127.0.0.12,127.0.0.13,127.0.0.14,127.0.0.15,127.0.0.16";
    let migrate = async || ask(&servers, &["migrate", expect, "--json"]).await;
    let states =
        |ended: &Ended| -> Vec<String> { rows(ended).into_iter().map(|it| it.1).collect() };

    let found = migrate().await;
    assert_eq!(
        (found.code, states(&found)),
        (7, vec!["NOT_HERE".to_owned(); 5])
    );
    found.says("127.0.0.16 is not here");

    let mut here = Vec::new();
    for last in 12..=14 {
        here.push(connect(&servers, last, true, &messages::online(&[last.into()])).await);
    }
    let elsewhere = connect(&servers, 15, false, &messages::online(&[15])).await;
    let found = migrate().await;
    let come = ["CLAIMED", "CLAIMED", "CLAIMED", "CONNECTED", "NOT_HERE"];
    assert_eq!(
        (found.code, states(&found)),
        (7, come.map(str::to_owned).to_vec())
    );
    assert_eq!(
        found.objects()[3]["notes"],
        json!(["its primary connection is another one"])
    );

    let claim = messages::role(1).encode();
    elsewhere.write(&claim).await.expect("it is open");
    let mut unlisted = connect_without_list(&servers, 16).await;
    let found = migrate().await;
    assert_eq!(found.code, 7, "{found:?}");
    found.says("needed: 127.0.0.16 has sent no list of its users\"");
    let note = found.objects()[4]["notes"][0].clone();
    assert!(note.to_string().contains("no list yet"), "{note}");
    unlisted.close(Ending::Fin).await;

    let unreadable = Pdu::new(messages::online(&[]).command, vec![0xff; 20]);
    let mut other_dialect = connect(&servers, 16, true, &unreadable).await;
    let found = ask(&servers, &["migrate", expect]).await;
    assert!(
        found.stdout.contains("cannot be read: does --dialect fit?"),
        "{found:?}"
    );
    assert_eq!(found.code, 7, "{found:?}");
    found.says("needed: 127.0.0.16 cannot be read\n");

    other_dialect.close(Ending::Fin).await;
    here.push(connect(&servers, 16, true, &messages::online(&[16])).await);
    let found = ask(&servers, &["migrate", expect, "--wait=10s"]).await;
    assert_eq!(found.code, 0, "{found:?}");
    assert!(
        found.stdout.ends_with("Safe to stop the old server.\n"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_filter_of_the_log_is_set_for_a_while() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let process = &servers.processes()[0];

    let set = ask(&servers, &["log-filter", "h2=debug", "--for=1s"]).await;
    assert_eq!(set.stdout, "set; it was info\n", "{set:?}");
    says(process, "\"method\":\"SetLogFilter\"").await;
    let own = std::fs::metadata("/proc/self").expect("this process").uid();
    says(process, &format!("\"uid\":{own},")).await;
    says(process, "\"pid\":").await;
    let _ = ask(&servers, &["stats"]).await;
    says(process, "\"target\":\"h2::").await;
    says(process, "what is logged is as at the start again").await;
    let again = ask(&servers, &["log-filter"]).await;
    assert_eq!(again.stdout, "set; it was info\n", "{again:?}");
}

#[tokio::test]
async fn the_admin_port_may_be_a_socket_in_a_folder() {
    let folder = std::env::temp_dir().join(format!("admin-port-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = format!("unix:{}", folder.join("a.sock").display());
    let flag = format!("--admin-grpc-listen={path}");
    let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, &[&flag]).await;

    let stats = command(&["stats", "--json", &format!("--admin-address={path}")]).await;

    assert_eq!(stats.code, 0, "{stats:?}");
    drop(servers);
    let refused = command(&["stats", &format!("--admin-address={path}")]).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    refused.says("--admin-grpc-listen");
    std::fs::remove_dir_all(folder).expect("it is ours");
}

#[tokio::test]
async fn names_in_the_environment_that_are_no_flags_are_said() {
    let names = vec![
        ("TT_GATEWAY_LISTN", "0.0.0.0:1".to_owned()),
        ("TT_ROUTE_LOG_BYTE", "1".to_owned()),
        ("TT_LISTEN", "0.0.0.0:1".to_owned()),
        // Of Kubernetes.
        ("TT_ROUTE_SERVICE_HOST", "10.0.0.1".to_owned()),
    ];
    let surroundings = Surroundings::with(names);
    let setup = Setup::TwoProcesses;
    let servers = Deployment::start_in(&surroundings, setup, FanOut::Directed, &[]).await;

    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };
    let all = ["TT_GATEWAY_LISTN", "TT_LISTEN", "TT_ROUTE_LOG_BYTE"];
    let all = format!("{all:?}").replace('"', "\\\"");
    says(gateway, &all).await;
    says(node, &all).await;
}
