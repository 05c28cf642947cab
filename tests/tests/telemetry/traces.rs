//! The whole way of one message, of one query and of one call: one trace each, a span for each hop.

use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::publish_request::Audience;
use route_proto::v1::{Event, Kick, MsgServersOfUsers, PublishRequest, event};
use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Setup, probes};
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::stage::Stage;
use tonic::transport::Endpoint;

use crate::collector::{Collector, Seen};

const ANN: u32 = 101;
const BOB: u32 = 102;

/// Everything that a trace may consist of: nothing of the exporter's own, of health checks or of
/// Attach.
const NAMES: [&str; 7] = [
    "pdu.receive",
    "pdu.attach",
    "pdu.route",
    "pdu.answer",
    "pdu.write",
    "teamtalk.route.v1.BroadcastService/Publish",
    "teamtalk.route.v1.PresenceService/GetUserStatus",
];

system_tests::in_both_setups! {
    the_way_of_a_message: a_message();
    the_way_of_a_query: a_query();
}

async fn a_message(setup: Setup) {
    let site = Site::start(setup).await;
    let message = messages::message(ANN, BOB, 1, SINGLE_TEXT, b"hello");
    site.stage.send("left", message).await;

    let names = ["pdu.receive", "pdu.attach", "pdu.route", "pdu.write"];
    site.check("message", names, setup).await;
}

async fn a_query(setup: Setup) {
    let site = Site::start(setup).await;
    site.stage.ask("right", &[ANN, BOB]).await;

    let names = ["pdu.receive", "pdu.attach", "pdu.answer", "pdu.write"];
    site.check("users_status_query", names, setup).await;
}

#[tokio::test]
async fn a_call_goes_on_with_the_trace_of_its_caller() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let site = Site::start(Setup::TwoProcesses).await;
    let node = format!("http://{}", site.servers.grpc_address());
    let node = Endpoint::from_shared(node).expect("a URL");
    let mut client = BroadcastServiceClient::new(node.connect().await.expect("a node"));

    for traceparent in [
        CALLER,
        &CALLER.replace("-01", "-00").replace("0af7", "beef"),
    ] {
        let mut request = tonic::Request::new(publication());
        let traceparent = traceparent.parse().expect("plain text");
        request.metadata_mut().insert("traceparent", traceparent);
        let published = client.publish(request).await.expect("it is published");
        assert_eq!(published.into_inner().link_count, 1);
    }

    let publish = "teamtalk.route.v1.BroadcastService/Publish";
    let trace = site.collector.trace(3, |span| span.name == publish).await;
    let gateway = "pdu-gateway";
    let way = chain(&trace, &CALLER[36..52], [publish, "pdu.route", "pdu.write"]);
    let services: Vec<_> = way.iter().map(|span| &span.service[..]).collect();
    assert_eq!(services, ["route-grpc", "route-grpc", gateway]);
    assert_eq!(way[0].trace, CALLER[3..35]);
    assert_eq!(way[0].attribute("rpc.method"), publish);
    assert_eq!(way[0].attribute("rpc.response.status_code"), "OK");
    site.end().await;
    // The caller that did not want a trace got none.
    let beef = |span: &Seen| span.trace.starts_with("beef");
    assert!(!site.collector.all().iter().any(beef));
}

#[tokio::test]
async fn metrics_are_sent_where_that_is_asked_for_and_scraped_as_before() {
    for asked in [true, false] {
        let collector = Collector::start().await;
        let mut variables = collector.variables();
        if asked {
            variables.push(("OTEL_METRICS_EXPORTER", "otlp".to_owned()));
        }
        let surroundings = Surroundings::with(variables);
        let servers =
            Deployment::start_in(&surroundings, Setup::Embedded, FanOut::Directed, &[]).await;
        let page = probes::get(servers.gateway_probes(), "/metrics").await;
        assert!(page.expect("a page").1.contains("teamtalk_pdu_links 0"));

        // The last values at the latest.
        crate::outages::end(&servers).await;

        match asked {
            true => collector.metric("teamtalk.pdu.links").await,
            false => assert!(!collector.has_metrics()),
        }
    }
}

/// A kick, for whoever has Bob.
fn publication() -> PublishRequest {
    let kick = Kick {
        user_id: BOB,
        client_type: 1,
        reason: 1,
    };
    PublishRequest {
        request_id: String::new(),
        event: Some(Event {
            body: Some(event::Body::Kick(kick)),
            ..Event::default()
        }),
        audience: Some(Audience::MsgServersOfUsers(MsgServersOfUsers {
            user_ids: vec![BOB],
        })),
        ..PublishRequest::default()
    }
}

/// Servers that send all traces to a collector, and two MsgServers with a user each.
struct Site {
    collector: Collector,
    servers: Deployment,
    stage: Stage,
}

impl Site {
    async fn start(setup: Setup) -> Self {
        let collector = Collector::start().await;
        let mut surroundings = Surroundings::with(collector.variables());
        let filter = "info,pdu_gateway=debug,route_grpc=debug";
        for variable in ["TT_ROUTE_LOG_FILTER", "TT_GATEWAY_LOG_FILTER"] {
            surroundings.variables.push((variable, filter.to_owned()));
        }
        let servers = Deployment::start_in(&surroundings, setup, FanOut::Directed, &[]).await;
        let mut stage = Stage::new("traces", servers.pdu_address());
        stage.open(&["left", "right"]).await;
        stage.send("left", messages::online(&[ANN])).await;
        stage.send("right", messages::online(&[BOB])).await;
        stage.settle().await;
        Self {
            collector,
            servers,
            stage,
        }
    }

    /// There is one trace that begins with this command, and consists of just these hops.
    async fn check(self, command: &str, names: [&str; 4], setup: Setup) {
        let begins = |span: &Seen| span.attribute("teamtalk.pdu.command") == command;
        let trace = self.collector.trace(names.len(), begins).await;
        let way = chain(&trace, "", names);
        let found: Vec<_> = way.iter().map(|span| &span.service[..]).collect();
        let router = match setup {
            Setup::Embedded => "pdu-gateway",
            Setup::TwoProcesses => "route-grpc",
        };
        assert_eq!(found, ["pdu-gateway", "pdu-gateway", router, "pdu-gateway"]);
        // Whoever reads a log finds the trace, and the other way round.
        let said = format!("\"trace_id\":\"{}\"", way[0].trace);
        for server in self.servers.processes() {
            assert!(
                server.has_said(&said),
                "{said} is not in the log of\n{server}"
            );
        }
        self.end().await;
        let spans = self.collector.all();
        let of_trace = |span: &&Seen| span.trace == way[0].trace;
        assert_eq!(spans.iter().filter(of_trace).count(), names.len());
        for span in &spans {
            assert!(NAMES.contains(&&span.name[..]), "{span:?}");
        }
    }

    /// Ends the servers, which sends what is left.
    async fn end(&self) {
        crate::outages::end(&self.servers).await;
    }
}

/// The spans of a trace by these names, each the child of the one before, and no earlier.
fn chain<const N: usize>(trace: &[Seen], parent: &str, names: [&str; N]) -> [Seen; N] {
    let way = names.map(|name| {
        let [span] = &trace
            .iter()
            .filter(|it| it.name == name)
            .collect::<Vec<_>>()[..]
        else {
            panic!("not one {name} in {trace:#?}");
        };
        (*span).clone()
    });
    let mut parent = parent.to_owned();
    let mut start = 0;
    for span in &way {
        assert_eq!(span.parent, parent, "{} in {trace:#?}", span.name);
        assert!(start <= span.start && span.start <= span.end, "{trace:#?}");
        parent.clone_from(&span.id);
        start = span.start;
    }
    way
}
