//! What a MsgServer sends that its dialect does not know: said once for each command, with the dialect that would fit.

use std::sync::LazyLock;
use std::time::Duration;

use route_dialect::{BUILT_IN, BodyError, Dialect};
use route_runtime::quota::Lines;
use tracing::{debug, warn};

use crate::pdu::frame::Pdu;
use crate::pdu::translate::{Meaning, translate};

/// Commands of one link of which something is said.
const MOST: usize = 10;

/// What is wrong with a PDU.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Problem {
    /// The dialect has no such command.
    #[error("no such command")]
    Command,
    /// The body cannot be read.
    #[error(transparent)]
    Body(BodyError),
    /// A message of a type that the dialect does not name.
    #[error("message type {0:#04x}")]
    MessageType(u32),
}

/// What has been said of one link.
#[derive(Debug)]
pub struct Complaints {
    commands: Vec<u16>,
    /// Of its MsgServer.
    lines: Lines,
}

impl Complaints {
    /// Nothing yet.
    pub fn new(lines: Lines) -> Self {
        let commands = Vec::new();
        Complaints { commands, lines }
    }

    /// Says what is wrong with a PDU, and what was done. The first of a command is worth somebody's attention, the rest
    /// would only be repetition.
    pub fn about(
        &mut self,
        now: Duration,
        dialect: &Dialect,
        pdu: &Pdu<'_>,
        problem: Problem,
        what: &str,
    ) {
        let command = pdu.header().command;
        let bytes = pdu.bytes().len();
        let id = format_args!("{command:#06x}");
        if self.commands.contains(&command) || self.commands.len() >= MOST {
            debug!(command = id, bytes, %problem, "{what}");
            return;
        }
        self.commands.push(command);
        let Some(left_out) = self.lines.take(now) else {
            return;
        };
        let spoken = dialect.name();
        match fitting(dialect, command, pdu.body(), problem) {
            Some(fits) => {
                warn!(command = id, bytes, %problem, dialect = spoken, left_out, "{what}; `--dialect {fits}` would read it");
            }
            None => {
                warn!(command = id, bytes, %problem, dialect = spoken, left_out, "{what}; docs/dialects.md says how to teach it");
            }
        }
    }
}

/// The built-in dialect that knows this command and can read the body. proto3 reads nearly anything, so it must be
/// zeros that are left out.
fn fitting(spoken: &Dialect, command: u16, body: &[u8], problem: Problem) -> Option<&'static str> {
    static ALL: LazyLock<Vec<(&str, Dialect)>> = LazyLock::new(|| {
        let all = BUILT_IN.iter();
        all.filter_map(|(name, _)| Some((*name, Dialect::built_in(name)?)))
            .collect()
    });
    let leaves_out = matches!(problem, Problem::Body(BodyError::Missing(_)));
    let mut others = ALL
        .iter()
        .filter(|(name, _)| *name != spoken.name() && (leaves_out || *name != "proto3"));
    others
        .find(|(_, dialect)| reads(dialect, command, body))
        .map(|(name, _)| *name)
}

fn reads(dialect: &Dialect, command: u16, body: &[u8]) -> bool {
    match translate(dialect, command, body) {
        Meaning::Unknown | Meaning::Unreadable { .. } => false,
        Meaning::Envelope {
            unread, odd_type, ..
        } => unread.is_none() && odd_type.is_none(),
        Meaning::Heartbeat
        | Meaning::Role { .. }
        | Meaning::List(_)
        | Meaning::Update(_)
        | Meaning::Query(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message from 1 to 2 in TeamTalk's fields, and the same without its number.
    const MESSAGE: &[u8] = &[8, 1, 16, 2, 24, 1, 32, 1, 40, 1, 50, 1, b'x'];
    const WITHOUT_NUMBER: &[u8] = &[8, 1, 16, 2, 32, 1, 40, 1, 50, 1, b'x'];

    #[test]
    fn the_dialect_is_named_that_reads_a_body() {
        let built_in = |name| Dialect::built_in(name).expect("it is built in");
        let own = "name = \"mine\"\nbase = \"teamtalk\"\n[commands]\nmessage = 0x0399\n";
        let own = Dialect::parse(own).expect("a definition");
        let missing = Problem::Body(BodyError::Missing("msg_id"));
        for (spoken, command, body, problem, fits) in [
            (
                &built_in("teamtalk"),
                0x0807,
                &[8, 1][..],
                Problem::Command,
                Some("0x08xx"),
            ),
            (
                &built_in("0x08xx"),
                0x0707,
                &[8, 1],
                Problem::Command,
                Some("teamtalk"),
            ),
            (&own, 0x0301, MESSAGE, Problem::Command, Some("teamtalk")),
            (
                &built_in("teamtalk"),
                0x0301,
                WITHOUT_NUMBER,
                missing,
                Some("proto3"),
            ),
            (
                &built_in("teamtalk"),
                0x7777,
                &[8, 1],
                Problem::Command,
                None,
            ),
        ] {
            assert_eq!(
                fitting(spoken, command, body, problem),
                fits,
                "{command:#06x}"
            );
        }
    }
}
