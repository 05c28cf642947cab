//! A service that asks for users of the pair, again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{GetUserStatusRequest, PresenceStatus};
use system_tests::player::pair;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// Between an answer and the next question: it is a witness, not a load.
const PACE: Duration = Duration::from_millis(10);
/// An answer that takes so long is none.
const LIMIT: Duration = Duration::from_secs(10);

/// It at work.
pub(crate) struct Reader {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    asking: JoinHandle<Duration>,
}

impl Reader {
    pub(crate) async fn start(node: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{node}")).expect("a URL");
        let channel = endpoint.connect().await.expect("the node listens");
        let (over, answers) = (Arc::default(), Arc::default());
        let asking = tokio::spawn(ask(channel, Arc::clone(&over), Arc::clone(&answers)));
        Self {
            over,
            answers,
            asking,
        }
    }

    /// How many there have been.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// How many answers came, and how long one took at most.
    pub(crate) async fn ends(self) -> (usize, Duration) {
        self.over.store(true, Ordering::Relaxed);
        let worst = self.asking.await.expect("every answer comes and is right");
        (self.answers.load(Ordering::Relaxed), worst)
    }
}

async fn ask(channel: Channel, over: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> Duration {
    let mut client = PresenceServiceClient::new(channel);
    let mut worst = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let request = GetUserStatusRequest {
            user_id: pair::users([2, 3])[0],
            ..GetUserStatusRequest::default()
        };
        let answer = timeout(LIMIT, client.get_user_status(request)).await;
        let answer = answer.expect("an answer").expect("it may ask").into_inner();
        let status = answer.user.map(|user| user.status());
        assert_eq!(
            status,
            Some(PresenceStatus::Online),
            "of a user of the pair"
        );
        worst = worst.max(began.elapsed());
        answers.fetch_add(1, Ordering::Relaxed);
        sleep(PACE).await;
    }
    worst
}
