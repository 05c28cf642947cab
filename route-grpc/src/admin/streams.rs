//! Streams that services read: shown, and closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use route_proto::admin::v1alpha1::{
    CloseStreamRequest, CloseStreamResponse, ListStreamsRequest, ListStreamsResponse, ReaderStream,
};
use tokio::time::{Instant, sleep};

use super::links::check_reason;
use super::{MAX_PAGE, USUAL_PAGE};
use crate::limits::{number, page_size};
use crate::node::Node;
use crate::node::readers::ReaderReport;
use crate::refusal::Refusal;

/// How long a client has to take that its stream ends.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const CLOSE_LOOK: Duration = Duration::from_millis(20);

/// A page of streams.
pub(super) fn list(
    node: &Node,
    request: &ListStreamsRequest,
) -> Result<ListStreamsResponse, Refusal> {
    let size = page_size(request.page_size, USUAL_PAGE, MAX_PAGE)?;
    let after = match request.page_token.as_str() {
        "" => 0,
        token => number(token, "page_token")?,
    };
    let (page, more) = node.readers.after(after, size);
    let head = node.log.extent().0;
    let last = page.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |last| last.number.to_string());
    Ok(ListStreamsResponse {
        streams: page.iter().map(|it| shown(node, head, it)).collect(),
        next_page_token,
        node_time: Some(node.clock.timestamp(node.now())),
    })
}

fn shown(node: &Node, head: u64, it: &ReaderReport) -> ReaderStream {
    ReaderStream {
        stream: it.number.to_string(),
        method: it.method.to_owned(),
        client: it
            .peer()
            .as_ref()
            .map_or_else(String::new, SocketAddr::to_string),
        about: it.about.clone(),
        open_time: Some(node.clock.timestamp(it.opened)),
        last_message_time: Some(node.clock.timestamp(it.sent())),
        lag_count: head.saturating_sub(it.after()),
        waiting_bytes: it.waiting() as u64,
    }
}

/// Has a stream end.
pub(super) fn ask_to_close(
    node: &Node,
    request: &CloseStreamRequest,
) -> Result<Arc<ReaderReport>, Refusal> {
    let number = number(&request.stream, "stream")?;
    check_reason(&request.reason)?;
    let unknown = || Refusal::NotFound {
        what: format!("stream {number}"),
    };
    let stream = node.readers.get(number).ok_or_else(unknown)?;
    stream.close();
    Ok(stream)
}

/// Waits until it has ended; a client that takes nothing is ended with its connection.
pub(super) async fn closed(
    node: &Node,
    stream: &ReaderReport,
) -> Result<CloseStreamResponse, Refusal> {
    let until = Instant::now() + CLOSE_WAIT;
    let mut connection_closed = false;
    while node.readers.get(stream.number).is_some() {
        if Instant::now() >= until && !connection_closed {
            connection_closed = true;
            stream.cut_client();
        } else if Instant::now() >= until + CLOSE_WAIT {
            return Err(Refusal::DeadlinePassed);
        }
        sleep(CLOSE_LOOK).await;
    }
    Ok(CloseStreamResponse {
        connection_closed,
        node_time: Some(node.clock.timestamp(node.now())),
    })
}
