//! How a connection to a port with TLS begins: with a hand-shake, within a time. Whoever begins otherwise is told so.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use route_access::Certificate;
use route_runtime::http2::turn_away;
use route_runtime::tls::server::ServerTls;
use rustls::{CertificateError, Error};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codegen::http::StatusCode;

use super::elsewhere;
use super::greeting::{Greeting, Heard};
use super::rewound::Rewound;
use crate::access::{FailedHandshake, Shown};
use crate::refusal::Refusal;

/// From the accept to the end of the hand-shake, or of what somebody without TLS is told.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// TLS begins with this.
const HANDSHAKE: u8 = 0x16;

/// What a client of gRPC is told that comes without TLS.
const SPEAK_TLS: &str = "this port speaks TLS: use https, with the root of its certificate";

/// A hand-shake that came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: FailedHandshake,
    pub(super) problem: String,
}

/// What has come of one: the stream, and what the client has shown.
pub(super) type Shaken<S> = (Box<TlsStream<Rewound<S>>>, Option<Arc<Shown>>);

/// Makes one. `change`: as of which state of files `tls` is.
///
/// # Errors
///
/// It came to nothing. A client without TLS has been told so.
pub(super) async fn shake<S>(stream: S, tls: &ServerTls, change: u64) -> Result<Shaken<S>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let shaken = timeout(HANDSHAKE_TIME, shaken(stream, tls, change));
    shaken.await.unwrap_or_else(|_| {
        Err(Failed {
            why: FailedHandshake::Timeout,
            problem: "the hand-shake took too long".to_owned(),
        })
    })
}

async fn shaken<S>(stream: S, tls: &ServerTls, change: u64) -> Result<Shaken<S>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let tls = match begun(stream, tls).await {
        Ok(Begun::Tls(tls)) => tls,
        Ok(Begun::Otherwise(stream)) => {
            answer_plaintext(stream).await;
            return Err(Failed {
                why: FailedHandshake::Plaintext,
                problem: "it does not begin with a TLS hand-shake".to_owned(),
            });
        }
        Err(error) => return Err(failed(&error)),
    };
    let shown = shown(&tls, change).map_err(|problem| Failed {
        why: FailedHandshake::Certificate,
        problem,
    })?;
    Ok((tls, shown))
}

/// How it begins.
enum Begun<S> {
    Tls(Box<TlsStream<Rewound<S>>>),
    Otherwise(Rewound<S>),
}

async fn begun<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: &ServerTls,
) -> io::Result<Begun<S>> {
    let mut stream = Rewound::new(stream);
    let first = stream.read_u8().await?;
    stream.rewind(vec![first]);
    if first != HANDSHAKE {
        return Ok(Begun::Otherwise(stream));
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    Ok(Begun::Tls(Box::new(acceptor.accept(stream).await?)))
}

/// The client's certificate; none, if it has shown none.
fn shown<S>(tls: &TlsStream<S>, change: u64) -> Result<Option<Arc<Shown>>, String> {
    let (_, session) = tls.get_ref();
    let Some(chain @ [own, ..]) = session.peer_certificates() else {
        return Ok(None);
    };
    let certificate = Certificate::read(own).map_err(|error| error.to_string())?;
    let chain = chain.to_vec();
    Ok(Some(Arc::new(Shown::new(certificate, chain, change))))
}

/// Says so, if it speaks HTTP.
async fn answer_plaintext<S: AsyncRead + AsyncWrite + Unpin>(mut stream: Rewound<S>) {
    let mut greeting = Greeting::awaited();
    let heard = poll_fn(|cx| greeting.poll(&mut stream, cx)).await;
    let Ok(Heard::Beginning(early)) = heard else {
        return;
    };
    stream.rewind(early);
    let refusal = Refusal::WrongPort { told: SPEAK_TLS };
    let answer = elsewhere::answer(refusal, StatusCode::MISDIRECTED_REQUEST);
    // Whoever does not listen is not told.
    let _ = turn_away(stream, &answer).await;
}

fn failed(error: &io::Error) -> Failed {
    let cause = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    let Some(cause) = cause else {
        return Failed {
            why: FailedHandshake::Closed,
            problem: format!("the connection ended before the hand-shake did: {error}"),
        };
    };
    let why = if let Error::InvalidCertificate(wrong) = cause {
        of_certificate(wrong)
    } else if matches!(cause, Error::AlertReceived(_)) {
        FailedHandshake::ByClient
    } else if matches!(
        cause,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol
    ) {
        FailedHandshake::Incompatible
    } else {
        FailedHandshake::Protocol
    };
    let problem = match why {
        FailedHandshake::ByClient => format!("the client ended the hand-shake: {cause}"),
        FailedHandshake::Plaintext
        | FailedHandshake::Timeout
        | FailedHandshake::UnknownRoot
        | FailedHandshake::Expired
        | FailedHandshake::Certificate
        | FailedHandshake::Incompatible
        | FailedHandshake::Closed
        | FailedHandshake::Protocol => cause.to_string(),
    };
    Failed { why, problem }
}

fn of_certificate(wrong: &CertificateError) -> FailedHandshake {
    use CertificateError as Wrong;
    // The second: its root has the name of one that is believed, and another key, as after a rotation.
    if matches!(wrong, Wrong::UnknownIssuer | Wrong::BadSignature) {
        FailedHandshake::UnknownRoot
    } else if matches!(
        wrong,
        Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. }
    ) {
        FailedHandshake::Expired
    } else {
        FailedHandshake::Certificate
    }
}
