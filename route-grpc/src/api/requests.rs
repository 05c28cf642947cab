//! Publish requests that were carried out: a repeated one is answered as the first was.
//!
//! Bounded in number and age; what falls out can be published again.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use route_proto::v1::PublishResponse;

/// Requests remembered; the oldest go first.
const KEPT: usize = 10_000;

/// For how long.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The last requests that had an id.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    answers: HashMap<String, PublishResponse>,
    order: VecDeque<(Duration, String)>,
}

impl Requests {
    /// The answer to a request that was carried out before.
    pub(crate) fn answer(&mut self, now: Duration, id: &str) -> Option<PublishResponse> {
        self.forget_until(now.saturating_sub(KEPT_FOR));
        let first = self.answers.get(id)?;
        Some(PublishResponse {
            duplicate: true,
            ..first.clone()
        })
    }

    /// Remembers an answer. The id is a new one.
    pub(crate) fn remember(&mut self, now: Duration, id: String, answer: PublishResponse) {
        if self.order.len() >= KEPT {
            self.forget_oldest();
        }
        self.order.push_back((now, id.clone()));
        self.answers.insert(id, answer);
        debug_assert_eq!(self.answers.len(), self.order.len());
    }

    fn forget_until(&mut self, time: Duration) {
        while self.order.front().is_some_and(|(at, _)| *at < time) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.answers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn a_repeated_request_is_answered_as_the_first_was() {
        let mut requests = Requests::default();
        requests.remember(NOW, "a".to_owned(), answer(3));

        let again = requests.answer(NOW, "a").expect("it is remembered");

        assert_eq!((again.links, again.duplicate), (3, true));
        assert!(requests.answer(NOW, "b").is_none());
    }

    #[test]
    fn requests_are_forgotten_by_age_and_by_number() {
        let mut requests = Requests::default();
        requests.remember(NOW, "old".to_owned(), answer(0));
        assert!(requests.answer(NOW + KEPT_FOR, "old").is_some());
        let later = NOW + KEPT_FOR + Duration::from_millis(1);
        assert!(requests.answer(later, "old").is_none());

        for number in 0..=KEPT {
            requests.remember(later, number.to_string(), answer(0));
        }
        assert!(requests.answer(later, "0").is_none());
        assert!(requests.answer(later, "1").is_some());
    }

    fn answer(links: u32) -> PublishResponse {
        PublishResponse {
            links,
            position: String::new(),
            duplicate: false,
        }
    }
}
