//! The dialects of MsgServers that gateways have told the node.

use std::sync::Arc;

use parking_lot::RwLock;
use route_dialect::Dialect;

use crate::refusal::Refusal;

/// How many may be told in one life of the node.
const MOST: usize = 255;

/// All dialects that any gateway has told, since what was routed in one is shown as long as the log holds it.
#[derive(Debug)]
pub(crate) struct Dialects {
    /// By number. The first is that in which services publish: TeamTalk's, with every dialect's
    /// types of messages.
    all: RwLock<Vec<Arc<Dialect>>>,
}

/// What the MsgServers of one gateway speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// What the core passes on.
    pub(crate) number: u16,
    pub(crate) dialect: Arc<Dialect>,
}

impl Dialects {
    /// Of what services publish.
    pub(crate) const PUBLISHED: u16 = 0;

    /// None but that in which services publish.
    pub(crate) fn new() -> Self {
        let published = Dialect::published().clone().without_message_types();
        let published = Arc::new(published);
        Self {
            all: RwLock::new(vec![published]),
        }
    }

    /// The dialect that a gateway defines. One that defines none is read as whatever it may be.
    pub(crate) fn learn(&self, definition: &str) -> Result<Spoken, Refusal> {
        if definition.is_empty() {
            return Ok(Spoken {
                number: Self::PUBLISHED,
                dialect: self.get(Self::PUBLISHED),
            });
        }
        let dialect = Dialect::parse(definition)
            .map_err(|error| Refusal::field("hello.dialect", error.to_string()))?;
        let mut all = self.all.write();
        let known = all.iter().skip(1).position(|known| **known == dialect);
        let place = known.map_or(all.len(), |place| place + 1);
        let number = match u16::try_from(place) {
            Ok(number) if place <= MOST => number,
            _ => {
                let problem = format!("this node has been told {MOST} dialects");
                return Err(Refusal::TooLarge { problem });
            }
        };
        if known.is_none() {
            // What is published in it is shown as it was meant.
            let published = Dialect::clone(&all[0]).with_message_types_of(&dialect);
            all[0] = Arc::new(published);
            all.push(Arc::new(dialect));
        }
        let dialect = Arc::clone(&all[place]);
        Ok(Spoken { number, dialect })
    }

    /// The dialect with this number.
    pub(crate) fn get(&self, number: u16) -> Arc<Dialect> {
        Arc::clone(&self.all.read()[usize::from(number)])
    }

    /// Whether some dialect that a gateway has told is so; of TeamTalk as published, if none has.
    pub(crate) fn any(&self, is_so: impl Fn(&Dialect) -> bool) -> bool {
        match &self.all.read()[..] {
            [_] | [] => is_so(&Dialect::standard()),
            [_, told @ ..] => told.iter().any(|dialect| is_so(dialect)),
        }
    }
}
