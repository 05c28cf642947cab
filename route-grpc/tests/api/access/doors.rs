//! Ports that keep others out of each other's way.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream as StdStream};
use std::time::Duration;

use route_runtime::listen::local::LocalAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tonic::{Code, Status};

use super::credentials::{GET, asks};
use super::guarded::{BY_NAME, Guarded, shows};
use super::streams::attaches;
use crate::attach::reason;
use crate::site::soon;
use crate::wire::{Said, Wire};

const ATTACH: &str = "teamtalk.attach.v1.AttachService/Attach";
const STATS: &str = "teamtalk.admin.v1alpha1.AdminService/GetStats";

fn not_served(status: &Status, told: &str) {
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert_eq!(reason(status), "NOT_SERVED", "{status:?}");
    assert!(status.message().contains(told), "{status:?}");
}

#[tokio::test]
async fn gateways_have_a_port_of_their_own_and_are_told_which() {
    let any = |it: &mut route_grpc::settings::NodeSettings| {
        it.attach_listen = Some("127.0.0.1:0".parse().unwrap());
    };
    let guarded = Guarded::with(BY_NAME, any).await;
    let attach = guarded.site.addresses.attach.unwrap();
    let pair = guarded.ca.client("urn:gateway");

    let status = guarded
        .wire(Some(&pair))
        .await
        .ends(ATTACH, Said::all(b""))
        .await;
    let there = format!("but at port {} (--attach-listen)", attach.port());
    not_served(&status, &there);
    let tls = shows(&guarded.ca, &pair);
    let channel = guarded
        .site
        .channel_to(&attach.to_string(), Some(tls))
        .await;
    attaches(channel, Some("g-1")).await;
    let reader = guarded.ca.client("urn:reader");
    let wire = guarded.wire_to(attach, Some(&reader)).await;
    not_served(&wire.ends(GET, asks()).await, "but grpc.reflection");
    let status = wire.ends(ATTACH, Said::all(b"")).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
}

/// By connections, or by hand-shakes that are begun and not ended.
#[tokio::test]
async fn a_public_port_that_is_full_keeps_no_gateway_out() {
    let small = |it: &mut route_grpc::settings::NodeSettings| {
        it.attach_listen = Some("127.0.0.1:0".parse().unwrap());
        it.max_grpc_connections = 2;
    };
    let guarded = Guarded::with(BY_NAME, small).await;
    let _served = guarded.wire_of("reader").await;
    let _begun = TcpStream::connect(guarded.site.address).await.unwrap();

    let told = guarded.wire_of("reader").await.ends(GET, asks()).await;

    assert_eq!(reason(&told), "CONNECTION_LIMIT", "{told:?}");
    let attach = guarded.site.addresses.attach.unwrap().to_string();
    let tls = shows(&guarded.ca, &guarded.ca.client("urn:gateway"));
    let channel = guarded.site.channel_to(&attach, Some(tls)).await;
    attaches(channel, Some("g-1")).await;
}

/// Probes know neither.
#[tokio::test]
async fn the_health_port_serves_health_alone_without_tls_and_credentials() {
    let any = |it: &mut route_grpc::settings::NodeSettings| {
        it.health_listen = Some("127.0.0.1:0".parse().unwrap());
    };
    let guarded = Guarded::with(BY_NAME, any).await;
    let health = guarded.site.addresses.health.unwrap().to_string();
    let wire = Wire::to(&health).await;

    let status = wire
        .ends("grpc.health.v1.Health/Check", Said::all(b""))
        .await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    for other in [
        GET,
        ATTACH,
        STATS,
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "teamtalk.route.v1.ServerService/GetServerInfo",
    ] {
        let status = wire.ends(other, Said::all(b"")).await;
        not_served(&status, "but grpc.health.v1.Health");
        assert!(
            !status.message().ends_with("ServerReflection"),
            "{status:?}"
        );
    }
}

/// Places are for those who are let in; probes ask, and go.
#[tokio::test]
async fn a_connection_on_which_nobody_is_let_in_gives_its_place_back() {
    const BEGINS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let any = |it: &mut route_grpc::settings::NodeSettings| {
        it.health_listen = Some("127.0.0.1:0".parse().unwrap());
    };
    let guarded = Guarded::with(BY_NAME, any).await;
    let mut idle = TcpStream::connect(guarded.site.addresses.health.unwrap())
        .await
        .unwrap();
    idle.write_all(BEGINS).await.unwrap();
    let mut told = [0; 9];
    idle.read_exact(&mut told).await.unwrap();

    // From now on time goes on when everybody waits.
    tokio::time::pause();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(31), idle.read_to_end(&mut rest));
    let _reset_or_closed = ended.await.expect("it is closed");

    guarded
        .site
        .shows("teamtalk_route_http2_ended_total{reason=\"strange\",scope=\"connection\"} 1")
        .await;
}

/// Nobody else can reach it, so it needs neither TLS nor a credential.
#[tokio::test]
async fn a_socket_of_this_host_serves_its_own_processes_as_they_are() {
    let name = format!("tt-access-admin-{}", std::process::id());
    let address = LocalAddress::Unix(format!("@{name}").into());
    let _guarded = Guarded::with(BY_NAME, |it| it.admin_grpc_listen = Some(address)).await;
    let connect = || {
        let address = UnixAddress::from_abstract_name(&name).unwrap();
        let socket = StdStream::connect_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        UnixStream::from_std(socket).unwrap()
    };

    let status = Wire::over(connect())
        .await
        .ends(STATS, Said::all(b""))
        .await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");

    let mut others = Vec::new();
    let full = async {
        loop {
            let wire = Wire::over(connect()).await;
            let status = wire.ends(STATS, Said::all(b"")).await;
            if status.code() != Code::Ok {
                return status;
            }
            others.push(wire);
        }
    };
    let told = soon("the last place", full).await;
    assert_eq!(
        reason(&told),
        "CONNECTION_LIMIT",
        "in its own words: {told:?}"
    );
}
