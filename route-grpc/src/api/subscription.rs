//! One Subscribe stream: every routed event that passes the filter, in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{Gap, Resumed, SubscribeRequest, SubscribeResponse, Subscribed, Watermark};
use tonic::Status;

use crate::access::{Caller, Need};
use crate::api::filter::Filter;
use crate::api::reader::{Reader, Turn, draining};
use crate::api::resume::{self, Start};
use crate::limits::Share;
use crate::methods;
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

/// The stream's state.
#[derive(Debug)]
pub(crate) struct Subscription {
    reader: Reader,
    filter: Filter,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    First(Box<Message>),
    Events,
    Over,
}

type Page = Vec<Result<SubscribeResponse, Status>>;

/// What an answer takes beside its event: itself, and its position.
const ANSWER_BYTES: usize = size_of::<Result<SubscribeResponse, Status>>() + 64;

impl Subscription {
    /// A stream for this request.
    pub(crate) fn open(
        node: Arc<Node>,
        request: &SubscribeRequest,
        client: &Share,
        caller: Option<&Caller>,
    ) -> Result<Self, Refusal> {
        let mut mistakes = Mistakes::default();
        let filter = Filter::new(request);
        let on_gap = mistakes.note(resume::gap_policy(request.on_gap));
        mistakes.note(resume::check(&request.resume_position));
        let filter = mistakes.end_with(filter)?;
        if let Some(caller) = caller {
            caller.require(Need::Hear(filter.kinds()))?;
        }
        let on_gap = on_gap.unwrap_or_default();
        let start = resume::start(&node, &request.resume_position, on_gap, None)?;
        let mut reader = Reader::open(node, methods::SUBSCRIBE, client, filter.about())?;
        let first = match start {
            Start::Now => Message::Subscribed(Subscribed {}),
            Start::Resumed(after) => {
                reader.seek(after);
                Message::Resumed(Resumed {})
            }
            Start::Gap(gap, after) => {
                reader.seek(after);
                reader.count_gap();
                Message::Gap(gap)
            }
        };
        Ok(Self {
            reader,
            filter,
            next: Next::First(Box::new(first)),
        })
    }

    /// The messages.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<SubscribeResponse, Status>> + Send {
        let pages = stream::unfold(Box::new(self), |mut subscription| async move {
            let page = subscription.next_page().await?;
            Some((stream::iter(page), subscription))
        });
        pages.flatten()
    }

    /// What is to be sent next, at least one message; None at the end.
    async fn next_page(&mut self) -> Option<Page> {
        let page = match std::mem::replace(&mut self.next, Next::Events) {
            Next::First(message) => self.say(*message),
            Next::Events => self.events().await,
            Next::Over => return None,
        };
        self.reader.sent();
        Some(page)
    }

    async fn events(&mut self) -> Page {
        loop {
            match self.reader.turn().await {
                Turn::Events => {
                    let dialects = &self.reader.node().dialects;
                    let events = self.reader.page().iter();
                    let page: Page = events
                        .filter_map(|it| {
                            let event = self.filter.pass(dialects, &it.event)?;
                            Some(Ok(self.at(it.position, it.at, Message::Event(event))))
                        })
                        .collect();
                    self.reader.answered(page.len(), ANSWER_BYTES);
                    if !page.is_empty() {
                        return page;
                    }
                }
                Turn::Gap { from, to } => {
                    self.reader.count_gap();
                    let gap: Gap = resume::fell_behind(self.reader.node(), from, to, None);
                    return self.say(Message::Gap(gap));
                }
                Turn::Idle => return self.say(Message::Watermark(Watermark {})),
                Turn::Closed => {
                    self.next = Next::Over;
                    return vec![Err(Refusal::StreamClosed.into())];
                }
                Turn::Leave(retry) => {
                    self.next = Next::Over;
                    let mut page = self.say(Message::Draining(draining(retry)));
                    page.push(Err(Refusal::Draining { retry }.into()));
                    return page;
                }
            }
        }
    }

    fn say(&self, message: Message) -> Page {
        let now = self.reader.node().clock.now();
        vec![Ok(self.at(self.reader.after(), now, message))]
    }

    fn at(&self, seq: u64, at: Duration, message: Message) -> SubscribeResponse {
        let node = self.reader.node();
        SubscribeResponse {
            position: node.position(seq).token(),
            node_time: Some(node.clock.timestamp(at)),
            message: Some(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use opentelemetry::global::meter;
    use route_runtime::budget::Budget;
    use route_runtime::shutdown::Shutdown;
    use tokio::time::Instant;

    use super::*;
    use crate::settings::NodeSettings;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_gets_a_watermark_every_ten_seconds() {
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let node = Node::start(
            NodeSettings::default(),
            Budget::new(None),
            &meter("test"),
            shutdown,
        );
        let request = SubscribeRequest::default();
        let subscription =
            Subscription::open(node, &request, &Share::default(), None).expect("a stream is free");
        let mut stream = pin!(subscription.into_stream());
        let opened = Instant::now();

        for seconds in [0, 10, 20] {
            let response = stream
                .next()
                .await
                .expect("it goes on")
                .expect("it is well");

            assert_eq!(opened.elapsed().as_secs(), seconds);
            let message = response.message.expect("there is something in it");
            let watermark = matches!(message, Message::Watermark(_));
            assert_eq!(watermark, seconds > 0, "{message:?}");
        }
    }
}
