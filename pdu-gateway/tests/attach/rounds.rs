//! Which nodes a gateway tries, and when: upstreams are played, and time is paused.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pdu_gateway::links::gateway::Gateway;
use pdu_gateway::links::link::LinkSettings;
use pdu_gateway::links::listener::Door;
use pdu_gateway::links::registry::{ConnectionLimits, Links};
use pdu_gateway::node::attachment::{Attachment, Identity, Patience};
use pdu_gateway::node::upstream::{AttachError, Place, Responses, Upstream};
use pdu_gateway::unconfirmed::ledger::Keep;
use pdu_gateway::unconfirmed::uplink::{Uplink, UplinkStream};
use pdu_gateway::unconfirmed::windows::Windows;
use route_dialect::Dialect;
use route_proto::attach::v1::{AttachResponse, AttachWelcome, Downlink, attach_response};
use route_proto::v1::ErrorReason;
use route_runtime::budget::Budget;
use route_runtime::readiness::Readiness;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const SILENCE: Duration = Duration::from_secs(3);

/// The longest pause, so that one is seen.
const BACK_OFF: Duration = Duration::from_secs(1000);

/// An address that the name has, and one that is not looked up: the node at it.
type Plays = fn(&Site, u8) -> Answer;

/// What is at an address.
enum Answer {
    /// Nobody listens.
    Refused,
    /// Nothing comes back.
    Hangs,
    /// Another one leads: this URL's.
    NotLeader(Option<String>),
    /// Welcomes, and says so often that it is there; or ends the stream with this after that time.
    Welcomes {
        beat_millis: u32,
        beats: bool,
        ends: Option<(Duration, Option<String>)>,
    },
}

/// What is tried, and when.
#[derive(Debug)]
struct Site {
    began: Instant,
    hosts: Mutex<Vec<u8>>,
    attempts: Mutex<Vec<(u8, Duration)>>,
}

impl Site {
    fn attempts(&self) -> Vec<(u8, Duration)> {
        self.attempts.lock().unwrap().clone()
    }

    fn tried(&self) -> Vec<u8> {
        self.attempts().iter().map(|(host, _)| *host).collect()
    }

    /// How long until this one was tried.
    fn found(&self, host: u8) -> Duration {
        let attempts = self.attempts();
        let found = attempts.iter().find(|(it, _)| *it == host);
        found.expect("it was tried").1
    }
}

struct Played(Arc<Site>, Plays);

impl std::fmt::Debug for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Played")
    }
}

impl Upstream for Played {
    fn name(&self) -> &'static str {
        "http://node.example:50052"
    }

    fn addresses(&self) -> Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>> {
        let hosts = self.0.hosts.lock().unwrap().clone();
        Box::pin(async move { hosts.into_iter().map(address).collect() })
    }

    fn attach<'a>(
        &'a self,
        to: &'a Place,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + 'a>> {
        let Some(SocketAddr::V4(it)) = to.address else {
            panic!("an address of the name: {to:?}");
        };
        let host = it.ip().octets()[3];
        let at = self.0.began.elapsed();
        self.0.attempts.lock().unwrap().push((host, at));
        let answer = (self.1)(&self.0, host);
        Box::pin(async move {
            match answer {
                Answer::Refused => Err(AttachError::Closed),
                Answer::Hangs => {
                    sleep(Duration::from_secs(5)).await;
                    Err(AttachError::Slow)
                }
                Answer::NotLeader(leader) => Err(AttachError::Ended(not_leader(leader))),
                Answer::Welcomes {
                    beat_millis,
                    beats,
                    ends,
                } => Ok(welcomes(requests, beat_millis, beats, ends)),
            }
        })
    }
}

fn welcomes(
    mut requests: UplinkStream,
    beat_millis: u32,
    beats: bool,
    ends: Option<(Duration, Option<String>)>,
) -> Responses {
    let (send, responses) = mpsc::channel(4);
    tokio::spawn(async move {
        let _hello = requests.next().await;
        let welcome = AttachWelcome {
            epoch: 1,
            beat_millis,
            ..AttachWelcome::default()
        };
        let frame = |frame| Ok(AttachResponse { frame: Some(frame) });
        let welcome = attach_response::Frame::Welcome(welcome);
        let _ = send.send(frame(welcome)).await;
        if let Some((after, leader)) = ends {
            sleep(after).await;
            let _ = send.send(Err(not_leader(leader))).await;
            return;
        }
        for number in 1.. {
            sleep(Duration::from_millis(beat_millis.max(1).into())).await;
            let beat = Downlink {
                number,
                ..Downlink::default()
            };
            let downlink = attach_response::Frame::Downlink(beat);
            if beats && send.send(frame(downlink)).await.is_err() {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(responses))
}

/// As a node says it.
pub(crate) fn not_leader(leader: Option<String>) -> Status {
    let reason = ErrorReason::NotLeader.as_str_name();
    let reason = reason.trim_start_matches("ERROR_REASON_");
    let leader = leader.map(|it| ("leader".to_owned(), it));
    let details = ErrorDetails::with_error_info(
        reason,
        "route.teamtalk",
        leader
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>(),
    );
    Status::with_error_details(Code::Unavailable, "another node leads", details)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 50052))
}

fn url(host: u8) -> Option<String> {
    Some(format!("http://{}", address(host)))
}

/// A gateway that attaches to nodes at a name with these hosts, for so long.
async fn runs(hosts: &[u8], time: Duration, plays: Plays) -> (Arc<Site>, Arc<Gateway>) {
    let site = Arc::new(Site {
        began: Instant::now(),
        hosts: Mutex::new(hosts.to_vec()),
        attempts: Mutex::default(),
    });
    let gateway = gateway();
    let attachment = Attachment {
        gateway: Arc::clone(&gateway),
        upstreams: vec![Box::new(Played(Arc::clone(&site), plays))],
        embedded: false,
        identity: Identity {
            gateway_id: "a".to_owned(),
            description: String::new(),
        },
        patience: Patience {
            welcome: Duration::from_secs(10),
            back_off: BACK_OFF,
            silence: SILENCE,
            lost: BACK_OFF * 10,
        },
        doors: watch::channel(Door::Shut).0,
        readiness: Readiness::new(),
        finished: CancellationToken::new(),
    };
    let _ = tokio::time::timeout(time, attachment.run()).await;
    (site, gateway)
}

fn gateway() -> Arc<Gateway> {
    let windows = Windows {
        link: 1 << 20,
        total: 1 << 20,
    };
    let limits = ConnectionLimits {
        total: 1,
        per_source: 1,
    };
    let time = Duration::from_secs(10);
    let link_settings = LinkSettings {
        heartbeat: Dialect::published().heartbeat(),
        queue_bytes: 1 << 20,
        heartbeat_interval: time,
        idle_timeout: time,
        write_timeout: time,
        pdu_timeout: time,
        pdu_rate: 1,
        host_timeout: time,
        close_timeout: time,
        remembered_origins: None,
    };
    Gateway::new(
        Arc::new(Dialect::standard()),
        link_settings,
        Links::new(limits),
        Uplink::new(windows, Keep::Contents),
        1 << 20,
        Budget::new(None),
    )
}

const LEADS: Answer = Answer::Welcomes {
    beat_millis: 1000,
    beats: true,
    ends: None,
};

/// A standby is not asked twice, a dead address costs nothing, and there is no pause between addresses of one name.
#[tokio::test(start_paused = true)]
async fn each_address_of_a_name_is_tried_until_one_welcomes() {
    for _ in 0..20 {
        let (site, gateway) = runs(&[1, 2, 3], Duration::from_secs(60), |_, host| match host {
            1 => Answer::Refused,
            2 => Answer::NotLeader(None),
            _ => LEADS,
        })
        .await;

        assert!(site.found(3) < Duration::from_millis(10));
        let mut tried = site.tried();
        assert_eq!(tried.last(), Some(&3));
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), site.tried().len(), "each once");
        assert_eq!(gateway.counters.attached.get(), 1);
    }
}

/// A pod that comes has another address than the one before.
#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_for_each_round() {
    let (site, _) = runs(&[1], Duration::from_secs(60), |site, host| {
        *site.hosts.lock().unwrap() = vec![2];
        match host {
            1 => Answer::Refused,
            _ => LEADS,
        }
    })
    .await;

    assert_eq!(site.tried(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_leader_that_a_node_names_is_tried_next() {
    let hosts: Vec<u8> = (1..50).collect();
    let (site, gateway) = runs(&hosts, Duration::from_secs(60), |_, host| match host {
        7 => LEADS,
        _ => Answer::NotLeader(url(7)),
    })
    .await;

    let tried = site.tried();
    assert!(tried.len() <= 2, "{tried:?}");
    assert!(site.found(7) < Duration::from_millis(10));
    let counted = &gateway.counters;
    assert_eq!(counted.not_leader.get(), tried.len() as u64 - 1);
    assert_eq!(counted.attach_failures.get(), 0);
}

/// A node cannot send a gateway, and its token, to somebody whom the configuration does not name.
#[tokio::test(start_paused = true)]
async fn an_address_that_the_configuration_does_not_have_is_never_tried() {
    for leader in [
        "http://10.0.0.9:50052",
        "http://10.0.0.2:80",
        "https://localhost:50052",
        "10.0.0.9:50052",
        "http://node.example:50052@10.0.0.9:50052",
        "",
        "\u{0}://",
    ] {
        static LEADER: Mutex<&str> = Mutex::new("");
        *LEADER.lock().unwrap() = leader;
        let plays: Plays = |_, _| Answer::NotLeader(Some(LEADER.lock().unwrap().to_string()));
        let (site, _) = runs(&[1, 2], Duration::from_secs(5), plays).await;

        let tried = site.tried();
        assert!(tried.len() > 2, "it goes on: {tried:?}");
        assert!(tried.iter().all(|host| [1, 2].contains(host)), "{tried:?}");
    }
}

/// As long as nodes answer that another one leads, they are asked again soon, and never without a pause.
#[tokio::test(start_paused = true)]
async fn nodes_that_name_each_other_are_asked_a_few_times_a_second() {
    const TIME: Duration = Duration::from_secs(60);
    let plays: [Plays; 2] = [
        |_, host| Answer::NotLeader(url(3 - host)),
        |_, _| Answer::NotLeader(None),
    ];
    for plays in plays {
        let (site, _) = runs(&[1, 2], TIME, plays).await;

        // A pause is 150 ms in the middle.
        let rounds = site.attempts().len() / 2;
        assert!((300..500).contains(&rounds), "{rounds}");
        for at in site.attempts().chunks_exact(4) {
            assert!(at[2].1 - at[0].1 >= Duration::from_millis(50), "{at:?}");
        }
    }
}

/// Nor can nodes that welcome it first keep it busy.
#[tokio::test(start_paused = true)]
async fn streams_that_end_at_once_are_no_hot_loop() {
    let (site, _) = runs(&[1, 2], Duration::from_secs(60), |_, host| {
        Answer::Welcomes {
            beat_millis: 0,
            beats: false,
            ends: Some((Duration::ZERO, url(3 - host))),
        }
    })
    .await;

    let attempts = site.attempts().len();
    assert!(attempts <= 1200, "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_names_its_successor_is_left_for_it_at_once() {
    let (site, _) = runs(
        &[1, 2, 3, 4, 5],
        Duration::from_secs(60),
        |site, host| match (host, site.tried().contains(&1)) {
            (5, true) => LEADS,
            (1, _) => Answer::Welcomes {
                beat_millis: 1000,
                beats: false,
                ends: Some((Duration::from_secs(2), url(5))),
            },
            (_, true) => Answer::NotLeader(None),
            (_, false) => Answer::NotLeader(url(1)),
        },
    )
    .await;

    let after = site.found(5) - site.found(1);
    assert!(after < Duration::from_millis(2010), "{after:?}");
    assert_eq!(site.tried().last(), Some(&5));
}

/// The old leader's host is gone, and standbys still take it for the leader, until one of them is.
#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_does_not_keep_it_from_asking_the_others() {
    const BECOMES: Duration = Duration::from_secs(8);
    for _ in 0..20 {
        let (site, gateway) = runs(&[1, 2, 3], Duration::from_secs(60), |site, host| {
            match (host, site.began.elapsed()) {
                (1, now) if now.is_zero() => Answer::Welcomes {
                    beat_millis: 1000,
                    beats: false,
                    ends: None,
                },
                (1, _) => Answer::Hangs,
                (2, now) if now >= BECOMES => LEADS,
                _ => Answer::NotLeader(url(1)),
            }
        })
        .await;

        let attempts = site.attempts();
        let leads = attempts.iter().find(|(it, at)| *it == 2 && *at >= BECOMES);
        let late = leads.expect("it was found").1 - BECOMES;
        assert!(late <= Duration::from_millis(250), "{late:?}");
        assert_eq!(gateway.counters.silent.get(), 1);
        assert_eq!(gateway.counters.attached.get(), 2);
    }
}

/// One whose addresses all hang is tried on.
#[tokio::test(start_paused = true)]
async fn addresses_that_hang_are_tried_again() {
    let (site, _) = runs(&[1, 2], Duration::from_secs(60), |site, _| {
        match site.began.elapsed() > Duration::from_secs(20) {
            true => LEADS,
            false => Answer::Hangs,
        }
    })
    .await;

    let last = site.attempts().last().copied().unwrap();
    assert!(last.1 > Duration::from_secs(20), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_to_speak_is_left_if_it_has_promised_to() {
    let stays: [(Plays, u64); 4] = [
        (|_, _| LEADS, 0),
        (|_, _| silent(0), 0),
        // It is left every 3 s and a bit; its pauses become no longer, for each stream is a success.
        (|_, _| silent(1000), 19),
        // Twice what is promised is more than the flag says.
        (|_, _| silent(10_000), 2),
    ];
    for (plays, left) in stays {
        let (site, gateway) = runs(&[1], Duration::from_secs(60), plays).await;

        assert_eq!(gateway.counters.silent.get(), left);
        assert_eq!(site.attempts().len() as u64, left + 1);
    }
}

const fn silent(beat_millis: u32) -> Answer {
    Answer::Welcomes {
        beat_millis,
        beats: false,
        ends: None,
    }
}
