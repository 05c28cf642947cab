//! Nodes without a policy that others can reach.

use route_grpc::settings::NodeSettings;
use route_grpc::{OpenError, Ports};
use route_proto::v1::server_service_client::ServerServiceClient;
use route_proto::v1::{CallerRights, GetServerInfoRequest};
use route_runtime::listen::local::LocalAddress;
use route_runtime::telemetry::Metrics;
use tonic::Code;

use super::log::Log;
use crate::played::Played;
use crate::publish::{message, request};
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

const INSECURE: &str = "teamtalk_route_access_insecure";

fn settings() -> NodeSettings {
    NodeSettings {
        admin_grpc_listen: Some(LocalAddress::parse("127.0.0.1:0").unwrap()),
        ..NodeSettings::default()
    }
}

/// How a node with these settings refuses to start.
async fn refused(settings: &NodeSettings, listen: &str) -> String {
    let metrics = Metrics::new("test", "0").unwrap();
    let listen = ("--listen", listen.parse().unwrap());
    match Ports::open(settings, listen, &metrics.meter()).await {
        Err(OpenError::Security(told)) => told,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_others_can_reach_does_not_start_without_a_policy() {
    let public = refused(&settings(), "0.0.0.0:0").await;
    assert!(public.starts_with("--listen 0.0.0.0:0 "), "{public}");
    let mut of_gateways = settings();
    of_gateways.attach_listen = Some("0.0.0.0:0".parse().unwrap());
    let attach = refused(&of_gateways, "127.0.0.1:0").await;
    assert!(attach.starts_with("--attach-listen 0.0.0.0:0 "), "{attach}");
    for insecure in [false, true] {
        let mut of_admin = settings();
        of_admin.security.insecure = insecure;
        of_admin.admin_grpc_listen = Some(LocalAddress::parse("0.0.0.0:0").unwrap());
        let admin = refused(&of_admin, "127.0.0.1:0").await;
        let begins = "--admin-grpc-listen 0.0.0.0:0 can be reached";
        assert!(admin.starts_with(begins), "{admin}");
    }
}

#[tokio::test]
async fn an_insecure_node_lets_everybody_do_everything_but_operate_it_and_says_so() {
    let log = Log::listen();
    let site = Site::at("0.0.0.0:0", |it| it.security.insecure = true).await;
    let site = Site {
        address: format!("127.0.0.1:{}", site.address.port())
            .parse()
            .unwrap(),
        ..site
    };
    site.shows(&format!("{INSECURE} 1")).await;
    assert!(
        log.has(&[" WARN ", "--insecure: everybody"]),
        "{}",
        log.all()
    );

    let mut gateway = Played::attach(&site, "any").await;
    gateway.open_with(1, &[7]).await;
    let [session] = &site.user(7).await.sessions[..] else {
        panic!("user 7 is online once");
    };
    assert_eq!(
        (&*session.link, &*session.peer),
        ("", ""),
        "as readers see it"
    );
    let mut broadcast = site.broadcast().await;
    let published = broadcast.publish(request("", message(1, 7), None));
    soon("an answer", published).await.unwrap();
    let mut info = ServerServiceClient::new(site.channel().await);
    let told = soon("an answer", info.get_server_info(GetServerInfoRequest {})).await;
    let rights = CallerRights {
        presence: true,
        subscribe: true,
        publish: true,
    };
    assert_eq!(told.unwrap().into_inner().rights, Some(rights));
    // Its own host operates it.
    let wire = Wire::to(&site.admin_address).await;
    let stats = "teamtalk.admin.v1alpha1.AdminService/GetStats";
    let status = wire.ends(stats, Said::all(b"")).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test]
async fn a_node_that_nobody_else_can_reach_is_not_called_insecure() {
    let log = Log::listen();
    let site = Site::start().await;
    site.shows(&format!("{INSECURE} 0")).await;
    assert!(!log.has(&["--insecure"]), "{}", log.all());
}
