//! Where something stands in a node's event log, and the opaque token by which clients name it.

use std::fmt::Write as _;

use crate::refusal::Refusal;

/// First byte of a token; another layout gets another number.
const VERSION: u8 = 1;

/// Version, epoch and sequence in hexadecimal.
const TOKEN_LENGTH: usize = 2 + 16 + 16;

/// The same with a filter.
const TOKEN_WITH_FILTER: usize = TOKEN_LENGTH + 16;

/// What a position of any release has at most, characters.
const LONGEST: usize = 512;

/// A place in the event log of one life of a node: everything up to and including `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// Which life of the node.
    pub(crate) epoch: u64,
    /// How many events came before, in that life.
    pub(crate) seq: u64,
    /// What tells filters apart, if the reader that came here has seen only what one lets through.
    pub(crate) filter: Option<u64>,
}

impl Position {
    /// Of a node of another release: of another life, whatever it says. No node has this epoch.
    const ELSEWHERE: Self = Self {
        epoch: 0,
        seq: 0,
        filter: None,
    };

    /// The text that clients get and hand back. Its inside is nobody else's business.
    pub(crate) fn token(self) -> String {
        let mut token = String::with_capacity(TOKEN_WITH_FILTER);
        // Writing into a String cannot fail.
        let _ = write!(token, "{VERSION:02x}{:016x}{:016x}", self.epoch, self.seq);
        if let Some(filter) = self.filter {
            let _ = write!(token, "{filter:016x}");
        }
        token
    }

    /// Reads a token back. `field` is the request's field that held it.
    pub(crate) fn parse(token: &str, field: &'static str) -> Result<Self, Refusal> {
        let unknown = || Refusal::field(field, "not a position that this API gave out");
        let may_be_one = token.bytes().all(|b| b.is_ascii_alphanumeric());
        if !(TOKEN_LENGTH..=LONGEST).contains(&token.len()) || !may_be_one {
            return Err(unknown());
        }
        let (version, numbers) = token.split_at(2);
        if u8::from_str_radix(version, 16) != Ok(VERSION) {
            return Ok(Self::ELSEWHERE);
        }
        if !matches!(token.len(), TOKEN_LENGTH | TOKEN_WITH_FILTER) {
            return Err(unknown());
        }
        let (epoch, rest) = numbers.split_at(16);
        let (seq, filter) = rest.split_at(16);
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| unknown());
        let filter = (!filter.is_empty()).then(|| number(filter)).transpose()?;
        Ok(Self {
            epoch: number(epoch)?,
            seq: number(seq)?,
            filter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_the_position_it_was_made_from() {
        for (epoch, seq, filter) in [
            (0, 0, None),
            (1, u64::MAX, Some(0)),
            (0x1234_5678_9abc_def0, 42, Some(u64::MAX)),
        ] {
            let position = Position { epoch, seq, filter };

            assert_eq!(
                Position::parse(&position.token(), "resume_position").ok(),
                Some(position)
            );
        }
    }

    /// After a step back to an older release a reader is at another node, and not in error.
    #[test]
    fn a_position_of_another_release_is_of_another_life() {
        for other in [
            format!("02{}", "Zz9".repeat(50)),
            format!("02{}", "0".repeat(32)),
        ] {
            let position = Position::parse(&other, "resume_position").ok();
            assert_eq!(position, Some(Position::ELSEWHERE), "{other}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = Position {
            epoch: 7,
            seq: 7,
            filter: None,
        }
        .token();
        let longer = format!("{good}0");
        let shorter = &good[1..];

        for bad in [
            "",
            "x",
            &longer,
            &good.replace('7', "-"),
            &format!("02{}", "0".repeat(511)),
            shorter,
            "+1",
            "€€€€€€€€€€€",
        ] {
            assert!(Position::parse(bad, "resume_position").is_err(), "{bad}");
        }
    }
}
