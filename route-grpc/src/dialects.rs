//! The dialects of MsgServers that gateways have told the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use route_dialect::Dialect;

use crate::refusal::Refusal;

/// How many definitions are kept. Of more, those go that no gateway has any more.
const MOST: usize = 255;

/// All dialects that gateways have told, since what was routed in one is shown as long as the log holds it.
#[derive(Debug)]
pub(crate) struct Dialects {
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Table {
    /// That in which services publish: TeamTalk's, with every dialect's types of messages.
    published: Arc<Dialect>,
    /// By number, from 1 on.
    told: BTreeMap<u16, Arc<Dialect>>,
    /// Their numbers, the one that was told last at the end.
    order: Vec<u16>,
    /// The highest number so far.
    last: u16,
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
        Self {
            table: RwLock::new(Table {
                published: published(&[]),
                told: BTreeMap::new(),
                order: Vec::new(),
                last: 0,
            }),
        }
    }

    /// The dialect that a gateway defines, if it does.
    pub(crate) fn read(definition: &str) -> Result<Option<Dialect>, Refusal> {
        if definition.is_empty() {
            return Ok(None);
        }
        let dialect = Dialect::parse(definition);
        let wrong = |error| Refusal::field("hello.dialect", format!("{error}"));
        dialect.map(Some).map_err(wrong)
    }

    /// Takes in the dialect of a gateway that is let in. One that defines none is read as whatever it may be.
    pub(crate) fn learn(&self, dialect: Option<&Dialect>) -> Result<Spoken, Refusal> {
        let Some(dialect) = dialect else {
            return Ok(Spoken {
                number: Self::PUBLISHED,
                dialect: self.get(Self::PUBLISHED),
            });
        };
        let mut table = self.table.write();
        let mut told = table.told.iter();
        let known = told.find_map(|(number, it)| (**it == *dialect).then(|| (*number, it.clone())));
        let (number, dialect) = match known {
            Some(known) => known,
            None => table.add(dialect.clone())?,
        };
        table.tell(number);
        Ok(Spoken { number, dialect })
    }

    /// The dialect with this number; that in which services publish, if it was forgotten.
    pub(crate) fn get(&self, number: u16) -> Arc<Dialect> {
        let table = self.table.read();
        Arc::clone(table.told.get(&number).unwrap_or(&table.published))
    }

    /// Whether some dialect that a gateway has told is so; of TeamTalk as published, if none has.
    pub(crate) fn any(&self, is_so: impl Fn(&Dialect) -> bool) -> bool {
        let table = self.table.read();
        if table.told.is_empty() {
            return is_so(&Dialect::standard());
        }
        table.told.values().any(|dialect| is_so(dialect))
    }
}

impl Table {
    fn add(&mut self, dialect: Dialect) -> Result<(u16, Arc<Dialect>), Refusal> {
        if self.told.len() == MOST {
            self.forget_one()?;
        }
        self.last = self.last.checked_add(1).ok_or_else(|| Refusal::TooLarge {
            problem: "this node has been told too many dialects: restart it".to_owned(),
        })?;
        let dialect = Arc::new(dialect);
        self.told.insert(self.last, Arc::clone(&dialect));
        Ok((self.last, dialect))
    }

    /// The one that was told longest ago, of those that no gateway has any more.
    fn forget_one(&mut self) -> Result<(), Refusal> {
        let is_over = |number: &u16| Arc::strong_count(&self.told[number]) == 1;
        let Some(at) = self.order.iter().position(is_over) else {
            let problem = format!("gateways of this node have {MOST} dialects");
            return Err(Refusal::TooLarge { problem });
        };
        self.told.remove(&self.order.remove(at));
        Ok(())
    }

    /// What is published is shown as it was meant. Where definitions differ, the latest one counts.
    fn tell(&mut self, number: u16) {
        self.order.retain(|other| *other != number);
        self.order.push(number);
        let latest = self.order.iter().rev();
        let told: Vec<_> = latest.map(|number| &*self.told[number]).collect();
        self.published = published(&told);
    }
}

/// TeamTalk's, with the types of messages of these. The first one that names a type counts.
fn published(told: &[&Dialect]) -> Arc<Dialect> {
    let none = Dialect::published().clone().without_message_types();
    let all = told.iter().copied();
    Arc::new(all.fold(none, Dialect::with_message_types_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_definition_counts_for_what_is_published() {
        let dialects = Dialects::new();
        let before = learn(&dialects, "fork", "single = [7]\ngroup = [8]");
        assert!(!is_group(&dialects, 7) && is_group(&dialects, 8));

        learn(&dialects, "fork", "single = [8]\ngroup = [7]");
        assert!(is_group(&dialects, 7) && !is_group(&dialects, 8));

        learn(&dialects, "fork", "single = [7]\ngroup = [8]");
        assert!(!is_group(&dialects, 7), "it is told again");
        assert!(before.dialect.is_of_group(8), "it reads as before");
    }

    #[test]
    fn of_too_many_those_are_forgotten_that_nobody_has() {
        let dialects = Dialects::new();
        let kept = learn(&dialects, "kept", "");
        let forgotten = learn(&dialects, "forgotten", "").number;
        for name in 0..2 * MOST {
            learn(&dialects, &format!("d{name}"), "");
        }
        assert_eq!(dialects.get(kept.number), kept.dialect);
        assert_eq!(dialects.get(forgotten), dialects.get(Dialects::PUBLISHED));

        let all: Vec<_> = (0..MOST - 1)
            .map(|name| learn(&dialects, &format!("e{name}"), ""))
            .collect();
        let refused = learn_as_told(&dialects, &definition("more", ""));
        assert!(
            matches!(refused, Err(Refusal::TooLarge { .. })),
            "{refused:?}"
        );
        drop(all);
        learn(&dialects, "more", "");
    }

    fn learn(dialects: &Dialects, name: &str, types: &str) -> Spoken {
        learn_as_told(dialects, &definition(name, types)).expect("a definition")
    }

    fn learn_as_told(dialects: &Dialects, definition: &str) -> Result<Spoken, Refusal> {
        dialects.learn(Dialects::read(definition)?.as_ref())
    }

    fn definition(name: &str, types: &str) -> String {
        let types = if types.is_empty() {
            String::new()
        } else {
            format!("[message_types]\n{types}")
        };
        format!("name = \"{name}\"\nbase = \"teamtalk\"\n{types}")
    }

    fn is_group(dialects: &Dialects, message_type: u32) -> bool {
        dialects.get(Dialects::PUBLISHED).is_of_group(message_type)
    }
}
