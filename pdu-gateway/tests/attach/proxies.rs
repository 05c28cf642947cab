//! Connections that come through proxies, which say by the PROXY protocol whose they are.

use std::net::Ipv4Addr;

use route_proto::attach::v1::uplink_entry::Entry;

use crate::claim;
use crate::harness::{Harness, MsgServer};
use crate::names::opened;

/// The proxy is here; its MsgServers are in two other networks.
const FLAGS: [&str; 4] = [
    "--proxy-protocol-from=127.0.0.1/32",
    "--allow-cidr=127.0.0.0/8,10.0.0.0/8,fd00::/8",
    "--max-connections-per-source=2",
    "--msg-server=one=10.0.0.7,fd00::7",
];

const V1: &[u8] = b"PROXY TCP4 10.0.0.7 10.0.0.5 40000 8200\r\n";

const V2_IPV4: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\0\0\x07\x0a\0\0\x05\x9c\x40\x20\x08";

const V2_IPV6: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24\
    \xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\x9c\x40\x20\x08";

const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test]
async fn a_link_is_of_whom_the_proxy_says() {
    let mut gateway = Harness::start(&FLAGS).await;
    let mut node = gateway.attached(1, &[]).await;

    for (header, peer, name) in [
        (V1, "10.0.0.7:40000", "one"),
        (V2_IPV4, "10.0.0.7:40000", "one"),
        (V2_IPV6, "[fd00::7]:40000", "one"),
        (V2_LOCAL, "127.0.0.1:", ""),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1:", ""),
    ] {
        for piece in [1, header.len(), header.len() + 5] {
            let mut proxy = gateway.connect().await.unwrap();
            for piece in [header, &claim()].concat().chunks(piece) {
                proxy.send(piece).await;
            }

            let opened = opened(&mut node).await;
            assert!(
                opened.peer.starts_with(peer),
                "{} is not {peer}",
                opened.peer
            );
            assert_eq!(opened.msg_server, name);
            let said = node.entry().await;
            assert!(matches!(said.entry, Some(Entry::Role(role)) if role.claimed));
            drop(proxy);
            let ended = node.entry().await;
            assert!(matches!(ended.entry, Some(Entry::Closed(_))), "{ended:?}");
        }
    }
}

/// The proxy is judged by its own address, its MsgServers by theirs; of each there may be so many.
#[tokio::test]
async fn limits_are_of_the_msg_server() {
    let mut gateway = Harness::start(&FLAGS).await;
    let mut node = gateway.attached(1, &[]).await;
    let open = async |header: &[u8]| {
        let mut proxy = gateway.connect().await.unwrap();
        proxy.send(header).await;
        proxy
    };

    let mut links: Vec<MsgServer> = Vec::new();
    for header in [V1, V2_IPV4, V2_IPV6, V2_IPV6, V2_LOCAL] {
        links.push(open(header).await);
        opened(&mut node).await;
    }
    open(V1).await.closed().await;
    gateway.refused("source", 1);
    // Two of the proxy's own: one is a link, the other has not said whose it is.
    let silent = gateway.connect().await.unwrap();
    gateway.connect().await.unwrap().closed().await;
    gateway.refused("source", 2);
    drop(silent);

    let stranger = b"PROXY TCP4 192.0.2.1 10.0.0.5 40000 8200\r\n";
    links.clear();
    while gateway.metrics.render().contains("teamtalk_pdu_links 5") {
        tokio::task::yield_now().await;
    }
    open(stranger).await.closed().await;
    gateway.refused("address", 1);
}

/// What is no header of a proxy ends the connection, and is no link; a probe is nothing at all.
#[tokio::test]
async fn a_proxy_has_to_say_whose_connection_it_is() {
    let flags = [&FLAGS[..], &["--pdu-timeout=200ms"]].concat();
    let mut gateway = Harness::start(&flags).await;
    let mut node = gateway.attached(1, &[]).await;

    for (count, sent) in [
        &claim()[..],
        b"PROXY TCP4 nonsense\r\n",
        &V1[..9],
        &[b'P'; 200],
    ]
    .iter()
    .enumerate()
    {
        let mut proxy = gateway.connect().await.unwrap();
        proxy.send(sent).await;
        proxy.closed().await;
        gateway.refused("proxy_header", count + 1);
    }
    drop(gateway.connect().await.unwrap());
    gateway.connect().await.unwrap().finished().await;
    gateway.refused("proxy_header", 4);

    // From elsewhere, a header is no PDU.
    let [listener] = gateway.gateway.pdu_addresses() else {
        panic!("there is one listener");
    };
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let mut stranger = gateway.connect_to(*listener, elsewhere).await.unwrap();
    stranger.send(V1).await;
    stranger.closed().await;
    gateway.refused("proxy_header", 4);
    let next = Ipv4Addr::new(127, 0, 0, 3);
    let mut next = gateway.connect_to(*listener, next).await.unwrap();
    next.send(&claim()).await;
    assert!(opened(&mut node).await.peer.starts_with("127.0.0.3:"));
}
