//! Keeps one connection: makes it, looks at the bucket, waits until it is lost, counts that, and again.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, Event, ServerAddr, Subscriber};
use futures_util::StreamExt;
use parking_lot::Mutex;
use route_runtime::seldom::Seldom;
use route_runtime::telemetry::reasons;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::super::ANSWER_LIMIT;
use super::options::{Login, NatsSettings};
use super::{Link, Live, Shared, Silence};

/// Between two attempts: from the first to the last, twice as long each time, less up to a half by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Where nobody can listen: what a connection that is lost finds instead of its server.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// What TLS says if it is the server's certificate, and what, if the server has refused this node's.
const NOT_BELIEVED: &str = "invalid peer certificate";
const ALERT: &str = "received fatal alert";

/// Lines about what goes wrong, one a minute of each kind.
#[derive(Debug)]
struct Lines {
    began: Instant,
    missing: Seldom,
    refused: Arc<Mutex<Seldom>>,
}

/// A connection, and the hints that come by it.
#[derive(Debug)]
struct Connection {
    live: Live,
    changes: Subscriber,
}

/// Keeps a connection for ever.
pub(super) async fn keep(
    shared: Arc<Shared>,
    settings: NatsSettings,
    mut servers: Vec<ServerAddr>,
) {
    let mut lines = Lines {
        began: Instant::now(),
        missing: Seldom::default(),
        refused: Arc::default(),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        fastrand::shuffle(&mut servers);
        for server in &servers {
            match open(&shared, &settings, server, &lines).await {
                Ok(connection) => {
                    let server = connection.live.client.server_info().server_name;
                    info!(%server, "connected to NATS");
                    shared.serve(connection).await;
                    info!(%server, "the connection to NATS is lost");
                    lines.missing = Seldom::default();
                    pause = FIRST_PAUSE;
                }
                Err(problem) => {
                    lines.missing(server, &problem);
                    shared.link.lock().problem = problem;
                }
            }
            sleep(pause.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn open(
    shared: &Shared,
    settings: &NatsSettings,
    server: &ServerAddr,
    lines: &Lines,
) -> Result<Connection, String> {
    let lost = Arc::new(Notify::new());
    let options = settings.options()?;
    let options = options.event_callback({
        let (lost, lines) = (Arc::clone(&lost), (lines.began, Arc::clone(&lines.refused)));
        move |event| {
            take_note(&event, &lost, &lines);
            async {}
        }
    });
    let client = options.connect(server.clone()).await;
    let client = client.map_err(|error| explained(&error, server, settings))?;
    let prepared = async {
        let nowhere = client.set_server_pool(NOWHERE).await;
        nowhere.map_err(|error| reasons(&error))?;
        shared.bucket.prepare(&client).await?;
        let changes = client.subscribe(shared.bucket.changes.clone()).await;
        changes.map_err(|error| reasons(&error))
    };
    Ok(Connection {
        changes: prepared.await?,
        live: Live { client, lost },
    })
}

/// What the client tells beside answers.
fn take_note(event: &Event, lost: &Notify, (began, refused): &(Instant, Arc<Mutex<Seldom>>)) {
    match event {
        // A server that is about to stop says so.
        Event::Disconnected | Event::Closed | Event::LameDuckMode => lost.notify_one(),
        Event::ServerError(problem) => {
            if let Some(left_out) = refused.lock().happened(began.elapsed()) {
                warn!(%problem, left_out, "NATS refuses something: has this node all rights that it needs?");
            }
        }
        Event::Connected | Event::Draining | Event::SlowConsumer(_) | Event::ClientError(_) => {}
    }
}

impl Shared {
    /// Lets requests use the connection until it is lost or given up.
    async fn serve(&self, connection: Connection) {
        let Connection { live, mut changes } = connection;
        self.link.lock().begin(&live);
        // The record may have changed while there was none.
        self.hint.notify_one();
        loop {
            tokio::select! {
                () = live.lost.notified() => break,
                change = changes.next() => match change {
                    Some(_) => self.hint.notify_one(),
                    None => break,
                },
            }
        }
        self.link.lock().interrupt();
        // It may be there no more.
        let _ = timeout(ANSWER_LIMIT, live.client.drain()).await;
    }
}

impl Link {
    fn begin(&mut self, live: &Live) {
        self.live = Some(live.clone());
        // It is not this one that was silent.
        self.silence = Silence::default();
    }

    fn interrupt(&mut self) {
        self.live = None;
        self.problem = "the connection to NATS is lost".to_owned();
        self.interruptions += 1;
    }
}

impl Lines {
    fn missing(&mut self, server: &ServerAddr, problem: &str) {
        if let Some(left_out) = self.missing.happened(self.began.elapsed()) {
            let (host, port) = (server.host(), server.port());
            warn!(server = %format_args!("{host}:{port}"), %problem, left_out, "no NATS; tries go on");
        }
    }
}

/// Why there is no connection, for operators: what to mend.
fn explained(error: &ConnectError, server: &ServerAddr, settings: &NatsSettings) -> String {
    let told = error.to_string();
    let advice = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            match &settings.login {
                Login::None => "it wants credentials, and this node has none".to_owned(),
                Login::Credentials(file) | Login::Password(_, file) | Login::Token(file) => {
                    format!("it does not take what is in {}", file.display())
                }
            }
        }
        ConnectErrorKind::Tls | ConnectErrorKind::Io if told.contains(NOT_BELIEVED) => {
            "has it the name in its URL, and is it signed by the CA that this node has?".to_owned()
        }
        ConnectErrorKind::Tls | ConnectErrorKind::Io if told.contains(ALERT) => {
            "it wants a certificate of this node, signed by a CA of its own".to_owned()
        }
        ConnectErrorKind::Dns => format!("is {} its name?", server.host()),
        ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::ServerParse
        | ConnectErrorKind::MaxReconnects => "does it run there?".to_owned(),
    };
    format!("no connection to NATS ({told}): {advice}")
}
