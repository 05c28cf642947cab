//! The probe port: plain HTTP for probes and Prometheus (`--probe-listen`).
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | all instruments in Prometheus' text format |
//! | `/livez` | 200 while the runtime's workers turn; depends on nothing else |
//! | `/readyz` | 200 if work is welcome, else 503; the body says why |
//! | any other | 404; the body says which there are |
//!
//! It is served through the whole drain, so that the drain can be watched.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::http2::{self, Answer};
use crate::listen;
use crate::readiness::Readiness;
use crate::seldom::Seldom;
use crate::shutdown::Shutdown;
use crate::telemetry::{CONTENT_TYPE, Metrics};

/// Connections served at a time. Probes and scrapes are a handful. When there are more, the oldest
/// goes: peers that say nothing must not keep a probe waiting.
pub const MAX_CONNECTIONS: usize = 32;

/// From accept to the end of the answer. A connection carries one request, so no peer holds a place
/// for longer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// Why a connection is dropped: a newer one came, it took too long, it does not speak HTTP.
const CROWDED: &str = "crowded";
const LATE: &str = "late";
const NOT_HTTP: &str = "not_http";

/// What clients of gRPC may be told here.
pub const TO_GRPC: &str = "this is the probe port: it has /metrics, /livez and /readyz, in HTTP/1. gRPC has a port of its own";

/// How a client of gRPC begins.
const HTTP2: [u8; 5] = *b"PRI *";

/// Serves until [`Shutdown::finished`]; fails if the listener breaks. `to_grpc`: what clients of gRPC are told, who have come to
/// the wrong port.
///
/// Do not spawn this on the shutdown's tracker: it waits for the tracker.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: Shutdown,
    to_grpc: Answer,
) -> io::Result<()> {
    let finished = shutdown.finished();
    let dropped = metrics.dropped_probe_connections(&[CROWDED, LATE, NOT_HTTP]);
    let router = router(metrics, readiness, shutdown.draining());
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let (mut crowded, began) = (Seldom::default(), Instant::now());
    let strangers = Strangers {
        told: Arc::new(to_grpc),
        dropped: dropped.clone(),
        lines: Arc::default(),
        began,
    };
    loop {
        tokio::select! {
            // The end first; then places are freed before new connections take them.
            biased;
            () = finished.cancelled() => return Ok(()),
            Some(_) = connections.join_next() => {
                oldest_first.retain(|connection| !connection.is_finished());
            }
            accepted = listen::accept(&listener) => {
                let (stream, peer) = accepted?;
                if oldest_first.len() >= MAX_CONNECTIONS
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                    dropped.add(1, &[KeyValue::new("reason", CROWDED)]);
                    if let Some(left_out) = crowded.happened(began.elapsed()) {
                        warn!(%peer, left_out, "too many connections to the probe port, the oldest is dropped for a new one");
                    }
                }
                oldest_first.push_back(connections.spawn(answer(stream, peer, router.clone(), strangers.clone())));
            }
        }
    }
}

fn router(metrics: Metrics, readiness: Readiness, draining: CancellationToken) -> Router {
    let metrics = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render());
    let ready = async move || {
        let state = readiness.state();
        let (ready, reason) = match draining.is_cancelled() {
            true => (false, "draining"),
            false => (state.ready, state.reason),
        };
        ready_answer(ready, reason)
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .fallback(async || {
            let text = "this is the probe port; it has /metrics, /livez and /readyz\n";
            (StatusCode::NOT_FOUND, text)
        })
}

fn ready_answer(ready: bool, reason: &str) -> impl IntoResponse {
    if ready {
        (StatusCode::OK, format!("ready: {reason}\n"))
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        )
    }
}

/// Tells of connections that are dropped.
#[derive(Debug, Clone)]
struct Strangers {
    told: Arc<Answer>,
    dropped: Counter<u64>,
    lines: Arc<Mutex<Seldom>>,
    began: Instant,
}

impl Strangers {
    /// Who does not speak HTTP has come to the wrong port, and should be found.
    fn dropped(&self, peer: SocketAddr, reason: &'static str) {
        self.dropped.add(1, &[KeyValue::new("reason", reason)]);
        if reason == NOT_HTTP
            && let Some(left_out) = self.lines.lock().happened(self.began.elapsed())
        {
            warn!(%peer, left_out, "the probe port speaks HTTP/1, and this peer gRPC or something else; it is dropped");
        }
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, router: Router, strangers: Strangers) {
    let reason = match timeout(CONNECTION_TIME, serve_one(stream, router, &strangers.told)).await {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => {
            debug!("a connection to the probe port timed out");
            LATE
        }
    };
    strangers.dropped(peer, reason);
}

/// Answers one request. An error says what it was instead.
async fn serve_one(stream: TcpStream, router: Router, told: &Answer) -> Result<(), &'static str> {
    let mut first = [0; HTTP2.len()];
    let peeked = stream.peek(&mut first).await;
    if peeked.is_ok() && first == HTTP2 {
        // Whoever does not listen is not told.
        let _ = http2::turn_away(stream, told).await;
        return Err(NOT_HTTP);
    }
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match connection.await {
        Ok(()) => Ok(()),
        Err(error) => {
            debug!(%error, "a connection to the probe port broke");
            match error.is_parse() {
                true => Err(NOT_HTTP),
                false => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::{HeaderName, HeaderValue};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn metrics_carry_the_content_type_that_prometheus_demands() {
        let port = Port::open().await;

        let answer = port.get("/metrics").await;

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let content_type = answer
            .lines()
            .find(|line| line.starts_with("content-type:"));
        assert!(
            content_type.unwrap().contains("text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.contains("\nprocess_memory_usage_bytes "), "{answer}");
    }

    #[tokio::test]
    async fn another_path_is_told_which_there_are() {
        let port = Port::open().await;

        let answer = port.get("/").await;

        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(
            answer.ends_with("/metrics, /livez and /readyz\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn readiness_is_told_with_its_reason() {
        let port = Port::open().await;

        let before = port.get("/readyz").await;
        port.readiness.set(true, "attached to a node");
        let after = port.get("/readyz").await;

        assert!(before.starts_with("HTTP/1.1 503 "), "{before}");
        assert!(before.ends_with("not ready: starting\n"), "{before}");
        assert!(after.starts_with("HTTP/1.1 200 "), "{after}");
        assert!(after.ends_with("ready: attached to a node\n"), "{after}");
    }

    #[tokio::test]
    async fn a_draining_process_is_alive_but_not_ready_until_it_is_finished() {
        let port = Port::open().await;
        port.readiness.set(true, "serving");

        port.shutdown.begin();

        assert!(port.get("/readyz").await.ends_with("not ready: draining\n"));
        assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));
        assert!(port.shutdown.finish().await);
        port.serving.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_cut_off() {
        let port = Port::open().await;
        let mut silent = TcpStream::connect(port.address).await.unwrap();

        let read = silent.read(&mut [0; 16]).await;

        assert!(matches!(read, Ok(0) | Err(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_say_nothing_keep_no_probe_waiting() {
        let port = Port::open().await;
        let before = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            silent.push(TcpStream::connect(port.address).await.unwrap());
        }

        assert!(port.get("/livez").await.starts_with("HTTP/1.1 200 "));

        assert!(before.elapsed() < CONNECTION_TIME, "it waited for a place");
        assert!(matches!(silent[0].read(&mut [0; 16]).await, Ok(0) | Err(_)));
        port.has_dropped(CROWDED).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_dropped_is_counted_by_reason() {
        let port = Port::open().await;
        let mut silent = TcpStream::connect(port.address).await.unwrap();
        let mut stranger = TcpStream::connect(port.address).await.unwrap();

        stranger.write_all(b"\x16\x03\x01\r\n\r\n").await.unwrap();
        stranger.read_to_end(&mut Vec::new()).await.unwrap();
        let read = silent.read(&mut [0; 16]).await;

        assert!(matches!(read, Ok(0) | Err(_)));
        port.has_dropped(NOT_HTTP).await;
        port.has_dropped(LATE).await;
    }

    #[tokio::test]
    async fn a_client_of_grpc_is_told_where_it_is() {
        let port = Port::open().await;
        let stream = TcpStream::connect(port.address).await.unwrap();

        let (mut calls, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let call = axum::http::Request::post("http://node/a.Service/Method")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(())
            .unwrap();
        let (answer, _) = calls.send_request(call, true).unwrap();

        assert_eq!(answer.await.unwrap().headers()["grpc-status"], "14");
        port.has_dropped(NOT_HTTP).await;
    }

    struct Port {
        address: SocketAddr,
        readiness: Readiness,
        shutdown: Shutdown,
        serving: JoinHandle<io::Result<()>>,
    }

    impl Port {
        async fn open() -> Self {
            let listener = listen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let metrics = Metrics::new("test", "0").unwrap();
            let readiness = Readiness::new();
            let shutdown = Shutdown::new(Duration::from_secs(1));
            let serving = tokio::spawn(serve(
                listener,
                metrics,
                readiness.clone(),
                shutdown.clone(),
                Answer {
                    grpc: [(
                        HeaderName::from_static("grpc-status"),
                        HeaderValue::from_static("14"),
                    )]
                    .into_iter()
                    .collect(),
                    status: StatusCode::MISDIRECTED_REQUEST,
                    text: TO_GRPC.to_owned(),
                },
            ));
            Self {
                address,
                readiness,
                shutdown,
                serving,
            }
        }

        /// At least one connection was dropped for this reason.
        async fn has_dropped(&self, reason: &str) {
            let text = self.get("/metrics").await;
            let series = format!("teamtalk_probe_dropped_total{{reason=\"{reason}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&series));
            assert!(count.is_some_and(|count| count != "0"), "{text}");
        }

        async fn get(&self, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }
}
