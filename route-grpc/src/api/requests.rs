//! Publish requests that were carried out: a repeated one is answered as the first was.
//!
//! Of one caller's identity; without a policy, all callers are one. Bounded in number
//! and age. What falls out can be published again, and whoever does that is told since when nothing
//! has.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use prost::Message;
use route_proto::v1::{EventKind, PublishRequest, PublishResponse};

use crate::gateways::queue::Placed;

/// Requests remembered; the oldest go first.
pub(crate) const KEPT: usize = 10_000;

/// For how long.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(600);

/// The last requests that had an id.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    carried_out: HashMap<String, CarriedOut>,
    order: VecDeque<(Duration, String)>,
    /// None that was carried out later is forgotten.
    since: Duration,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(crate) struct CarriedOut {
    pub(crate) content: Content,
    pub(crate) response: PublishResponse,
    pub(crate) placed: Arc<[Placed]>,
}

/// Stands for what a request asks for: event and audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content(u64);

impl Content {
    /// Of this request.
    pub(crate) fn of(request: &PublishRequest) -> Self {
        let mut event = request.event.clone();
        if let Some(event) = &mut event {
            // What is ignored.
            event.kind = EventKind::Unspecified.into();
            event.origin_link.clear();
            event.origin_msg_server.clear();
        }
        let same = PublishRequest {
            event,
            audience: request.audience.clone(),
            ..PublishRequest::default()
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(&same.encode_to_vec());
        Self(hasher.finish())
    }
}

impl Requests {
    /// What came of the request with this id, if it was carried out before.
    pub(crate) fn find(&mut self, now: Duration, id: &str) -> Option<&CarriedOut> {
        while let Some((at, _)) = self.order.front()
            && *at + KEPT_FOR < now
        {
            self.forget_oldest();
        }
        self.carried_out.get(id)
    }

    /// Remembers what came of a request. The id is a new one.
    pub(crate) fn remember(&mut self, now: Duration, id: String, came: CarriedOut) {
        if self.order.len() >= KEPT {
            self.forget_oldest();
        }
        self.order.push_back((now, id.clone()));
        self.carried_out.insert(id, came);
        debug_assert_eq!(self.carried_out.len(), self.order.len());
    }

    /// Every request that was carried out after this is remembered.
    pub(crate) fn since(&self) -> Duration {
        self.since
    }

    fn forget_oldest(&mut self) {
        if let Some((at, id)) = self.order.pop_front() {
            self.carried_out.remove(&id);
            self.since = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use route_proto::v1::{AllMsgServers, Event, publish_request::Audience};

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn a_request_that_was_carried_out_is_found() {
        let mut requests = Requests::default();
        requests.remember(NOW, "a".to_owned(), came(3));

        let again = requests.find(NOW, "a").expect("it is remembered");

        assert_eq!(again.response.link_count, 3);
        assert!(requests.find(NOW, "b").is_none());
    }

    #[test]
    fn requests_are_forgotten_by_age_and_by_number() {
        let mut requests = Requests::default();
        requests.remember(NOW, "old".to_owned(), came(0));
        assert!(requests.find(NOW + KEPT_FOR, "old").is_some());
        assert_eq!(requests.since(), Duration::ZERO, "since the start");
        let later = NOW + KEPT_FOR + Duration::from_millis(1);
        assert!(requests.find(later, "old").is_none());
        assert_eq!(requests.since(), NOW);

        for number in 0..KEPT {
            requests.remember(later, number.to_string(), came(0));
        }
        assert_eq!(requests.since(), NOW);
        requests.remember(later, "one more".to_owned(), came(0));
        assert!(requests.find(later, "0").is_none());
        assert!(requests.find(later, "1").is_some());
        assert_eq!(requests.since(), later);
    }

    #[test]
    fn the_content_is_the_event_and_its_audience() {
        let request = PublishRequest {
            request_id: "a".to_owned(),
            ..PublishRequest::default()
        };
        let with_event = PublishRequest {
            event: Some(Event::default()),
            ..request.clone()
        };
        let to_all = PublishRequest {
            audience: Some(Audience::AllMsgServers(AllMsgServers {})),
            ..request.clone()
        };
        let again = PublishRequest {
            request_id: "b".to_owned(),
            acknowledgement: 2,
            ..PublishRequest::default()
        };

        assert_ne!(Content::of(&request), Content::of(&with_event));
        assert_ne!(Content::of(&request), Content::of(&to_all));
        assert_eq!(Content::of(&request), Content::of(&again));
    }

    fn came(link_count: u32) -> CarriedOut {
        CarriedOut {
            content: Content(0),
            response: PublishResponse {
                link_count,
                ..PublishResponse::default()
            },
            placed: Arc::default(),
        }
    }
}
