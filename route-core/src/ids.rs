//! Names of things: users, client types, links.

use std::fmt;

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
pub struct ClientType {
    /// As MsgServers write it.
    pub number: u8,
    /// Its class: mobile, else desktop.
    pub mobile: bool,
}

impl ClientType {
    /// One of TeamTalk, where bit 0x10 makes the class: set means mobile (`CHECK_CLIENT_TYPE_PC` of
    /// the C++ code).
    pub const fn published(number: u8) -> Self {
        let mobile = number & 0x10 != 0;
        ClientType { number, mobile }
    }

    /// The class of desktop clients.
    pub fn is_desktop(self) -> bool {
        !self.mobile
    }
}

/// A legacy command, for those who read the events; the core only passes it on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Command {
    /// Its id.
    pub id: u16,
    /// The dialect in which it and its PDU are, by a number that the caller knows.
    pub dialect: u16,
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
    pub const NODE: LinkId = LinkId::new(0, 0);

    /// The link that has this number at this gateway.
    pub const fn new(gateway: u64, number: u64) -> Self {
        LinkId { gateway, number }
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.gateway, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_written_as_gateway_and_number() {
        assert_eq!(LinkId::new(0x18f_a0b1, 42).to_string(), "18fa0b1-42");
    }

    #[test]
    fn bit_0x10_makes_a_client_mobile() {
        assert!(ClientType::published(0x01).is_desktop());
        assert!(ClientType::published(0x21).is_desktop());
        assert!(ClientType::published(0x11).mobile);
        assert!(ClientType::published(0x13).mobile);
    }
}
