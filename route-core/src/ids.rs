//! Names of things: users, client types, links.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A user's id. Every value is an ordinary id, 0 included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserId(pub u32);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A legacy client type: 0x01 Windows, 0x02 Mac, 0x11 iOS, 0x12 Android; forks know more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientType(pub u8);

impl ClientType {
    /// Bit 0x10 makes the client class: set means mobile (`CHECK_CLIENT_TYPE_PC` of the C++ code).
    pub fn is_mobile(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// The other class.
    pub fn is_desktop(self) -> bool {
        !self.is_mobile()
    }
}

/// Names one MsgServer connection, everywhere and for ever.
///
/// Text form: `<gateway in hex>-<number>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId {
    /// Incarnation of the link's gateway; 0 stands for the node itself.
    pub gateway: u64,
    /// Running number within the incarnation, from 1.
    pub number: u64,
}

impl LinkId {
    /// Origin of what a service publishes: no link at all.
    pub const NODE: LinkId = LinkId {
        gateway: 0,
        number: 0,
    };
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.gateway, self.number)
    }
}

/// The text is not `<hex>-<number>`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a link is written as <gateway in hex>-<number>, not {0:?}")]
pub struct ParseLinkIdError(String);

impl FromStr for LinkId {
    type Err = ParseLinkIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('-').and_then(|(gateway, number)| {
            Some(LinkId {
                gateway: u64::from_str_radix(gateway, 16).ok()?,
                number: number.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| ParseLinkIdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_id_survives_its_text_form() {
        let id = LinkId {
            gateway: 0x18f_a0b1,
            number: 42,
        };

        assert_eq!(id.to_string(), "18fa0b1-42");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("42".parse::<LinkId>().is_err());
        assert!("xyz-1".parse::<LinkId>().is_err());
    }

    #[test]
    fn bit_0x10_makes_a_client_mobile() {
        assert!(ClientType(0x01).is_desktop());
        assert!(ClientType(0x21).is_desktop());
        assert!(ClientType(0x11).is_mobile());
        assert!(ClientType(0x13).is_mobile());
    }
}
