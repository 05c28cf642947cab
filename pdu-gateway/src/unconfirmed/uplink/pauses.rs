//! Links of other gateways that should pause, because they feed links here more than these take.

use std::collections::BTreeMap;

use route_proto::attach::v1::{LinkId, Pause};

/// Who should pause, and what the node was told of that on the present stream.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    feeders: BTreeMap<(u64, u64), Feeder>,
    /// Of some feeder the node has not been told how it is.
    pub(super) is_news: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Feeder {
    /// Links here that it feeds too much. With several threads, the end of that may come before its beginning.
    links: isize,
    told: bool,
}

impl Pauses {
    /// One more link here is fed too much by this one, or one less.
    pub(super) fn change(&mut self, feeder: LinkId, on: bool) {
        let known = self.feeders.entry((feeder.gateway, feeder.number));
        let known = known.or_default();
        known.links += if on { 1 } else { -1 };
        self.is_news |= known.is_news();
        if *known == Feeder::default() {
            self.feeders.remove(&(feeder.gateway, feeder.number));
        }
    }

    /// A new stream: the node knows of none.
    pub(super) fn begin(&mut self) {
        self.feeders.retain(|_, feeder| feeder.links != 0);
        self.feeders.values_mut().for_each(|it| it.told = false);
        self.is_news = self.feeders.values().any(Feeder::is_news);
    }

    /// What the node is to be told.
    pub(super) fn take(&mut self) -> Vec<Pause> {
        if !std::mem::take(&mut self.is_news) {
            return Vec::new();
        }
        let news = self.feeders.iter_mut().filter(|(_, it)| it.is_news());
        let pauses = news.map(|((gateway, number), feeder)| {
            feeder.told = !feeder.told;
            Pause {
                origin: Some(LinkId {
                    gateway: *gateway,
                    number: *number,
                }),
                on: feeder.told,
            }
        });
        let pauses = pauses.collect();
        self.feeders.retain(|_, it| it.links != 0);
        pauses
    }
}

impl Feeder {
    fn is_news(&self) -> bool {
        self.told != (self.links > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_feeds_two_links_is_told_once_and_again_on_a_new_stream() {
        let mut pauses = Pauses::default();
        let feeder = LinkId {
            gateway: 7,
            number: 1,
        };
        let pause = |on| Pause {
            origin: Some(feeder),
            on,
        };
        pauses.change(feeder, true);
        pauses.change(feeder, true);
        assert_eq!(pauses.take(), [pause(true)]);
        pauses.change(feeder, false);
        assert!(!pauses.is_news);

        pauses.begin();
        assert_eq!(pauses.take(), [pause(true)]);
        pauses.change(feeder, false);
        assert_eq!(pauses.take(), [pause(false)]);

        pauses.change(feeder, true);
        pauses.change(feeder, false);
        assert_eq!(pauses.take(), []);
    }
}
