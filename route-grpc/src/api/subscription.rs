//! One Subscribe stream: every routed event that passes the filter, in order.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use hashbrown::HashSet;
use route_core::Event;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    Draining, EventKind, Gap, Resumed, SubscribeRequest, SubscribeResponse, Subscribed, Watermark,
};
use tonic::Status;

use crate::api::events;
use crate::api::reader::{Reader, Turn};
use crate::api::resume::{self, Start};
use crate::dialects::Dialects;
use crate::methods;
use crate::node::Node;
use crate::refusal::Refusal;

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
    /// A stream for this request, whose ids have been checked.
    pub(crate) fn open(node: Arc<Node>, request: &SubscribeRequest) -> Result<Self, Refusal> {
        let filter = Filter::new(request)?;
        let start = resume::start(&node, &request.resume_position, request.on_gap())?;
        let mut reader = Reader::open(node, methods::SUBSCRIBE)?;
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
                            Some((it.position, self.filter.pass(dialects, &it.event)?))
                        })
                        .map(|(seq, event)| Ok(self.at(seq, Message::Event(event))))
                        .collect();
                    self.reader.answered(page.len(), ANSWER_BYTES);
                    if !page.is_empty() {
                        return page;
                    }
                }
                Turn::Gap { from, to } => {
                    self.reader.count_gap();
                    let gap: Gap = resume::fell_behind(self.reader.node(), from, to);
                    return self.say(Message::Gap(gap));
                }
                Turn::Idle => return self.say(Message::Watermark(Watermark {})),
                Turn::Leave(retry) => {
                    self.next = Next::Over;
                    let retry_after_millis = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
                    let mut page = self.say(Message::Draining(Draining { retry_after_millis }));
                    page.push(Err(Refusal::Draining { retry }.into()));
                    return page;
                }
            }
        }
    }

    fn say(&self, message: Message) -> Page {
        vec![Ok(self.at(self.reader.after(), message))]
    }

    fn at(&self, seq: u64, message: Message) -> SubscribeResponse {
        SubscribeResponse {
            position: self.reader.node().position(seq).token(),
            message: Some(message),
        }
    }
}

/// Which events a subscriber wants, and what of them.
#[derive(Debug)]
struct Filter {
    /// Bit n stands for the kind with number n; 0: all kinds.
    kinds: u32,
    /// None: all users.
    users: Option<HashSet<u32>>,
    raw: bool,
}

impl Filter {
    fn new(request: &SubscribeRequest) -> Result<Self, Refusal> {
        let mut kinds = 0;
        for &number in &request.kinds {
            match EventKind::try_from(number) {
                Ok(kind) if kind != EventKind::Unspecified => kinds |= 1 << number,
                Ok(_) | Err(_) => {
                    let problem = format!("{number} is no kind of event");
                    return Err(Refusal::field("kinds", problem));
                }
            }
        }
        let users = request.user_ids.iter().copied().collect::<HashSet<_>>();
        Ok(Self {
            kinds,
            users: (!users.is_empty()).then_some(users),
            raw: request.include_raw,
        })
    }

    /// The event, if it is wanted. A body is read only if its kind is.
    fn pass(&self, dialects: &Dialects, event: &Event) -> Option<route_proto::v1::Event> {
        if let Event::Presence(change) = event
            && !change.is_of_status()
        {
            return None;
        }
        if self.kinds != 0 && self.kinds & 1 << events::kind(dialects, event) as i32 == 0 {
            return None;
        }
        let mut typed = events::typed(dialects, event);
        if let Some(users) = &self.users
            && !events::names_any(&typed, users)
        {
            return None;
        }
        if self.raw {
            typed.raw_pdu = events::raw_pdu(event);
        }
        Some(typed)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use opentelemetry::global::meter;
    use route_runtime::shutdown::Shutdown;
    use tokio::time::Instant;

    use super::*;
    use crate::settings::NodeSettings;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_gets_a_watermark_every_ten_seconds() {
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let node = Node::start(NodeSettings::default(), &meter("test"), shutdown);
        let request = SubscribeRequest::default();
        let subscription = Subscription::open(node, &request).expect("a stream is free");
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
