//! What comes on a call, as gRPC frames it: each message behind a byte that says whether it is compressed, and its length.

/// Bytes before each gRPC message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// A stream of requests of ours, as [`methods::WATCH_USER_SET`](crate::methods::WATCH_USER_SET).
const WATCH_USER_SET: &str = "/teamtalk.route.v1.PresenceService/WatchUserSet";

/// What comes on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// One message, as soon as it can.
    One,
    /// Any number, whenever they are ready.
    Messages,
    /// The same, from a gateway.
    Attach,
}

impl Stream {
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/teamtalk.attach.") {
            Self::Attach
        } else if path.starts_with("/grpc.reflection.") || path == WATCH_USER_SET {
            Self::Messages
        } else {
            Self::One
        }
    }
}

/// Where in a message the body stands.
#[derive(Debug, Default)]
pub(super) struct Message {
    prefix: Vec<u8>,
    left: usize,
    /// At least one has come completely.
    pub(super) complete: bool,
    /// The highest first byte of all prefixes.
    pub(super) flag: u8,
}

impl Message {
    /// More has come. Returns how long the last message is that has begun in it and goes on, if one
    /// has.
    pub(super) fn read(&mut self, mut came: &[u8]) -> Option<u32> {
        let mut begun = None;
        while !came.is_empty() {
            if self.left > 0 {
                let some = self.left.min(came.len());
                self.left -= some;
                came = &came[some..];
                self.complete |= self.left == 0;
                begun = begun.filter(|_| self.left > 0);
                continue;
            }
            if self.prefix.is_empty() {
                self.flag = self.flag.max(came[0]);
            }
            let some = came.len().min(PREFIX_BYTES - self.prefix.len());
            self.prefix.extend_from_slice(&came[..some]);
            came = &came[some..];
            if let [_, a, b, c, d] = self.prefix[..] {
                let length = u32::from_be_bytes([a, b, c, d]);
                self.prefix.clear();
                self.left = length as usize;
                self.complete |= length == 0;
                begun = (length > 0).then_some(length);
            }
        }
        begun
    }

    /// It goes on: so many bytes are missing of it, as far as that is known.
    pub(super) fn missing(&self) -> Option<usize> {
        match (self.left, self.prefix.len()) {
            (0, 0) => None,
            (0, some) => Some(PREFIX_BYTES - some),
            (left, _) => Some(left),
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.left > 0 || !self.prefix.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_begun_until_its_last_byte() {
        let mut message = Message::default();

        assert_eq!(message.read(&[0, 0, 0]), None);
        assert!(message.has_begun());
        assert_eq!(message.read(&[0, 3, 1]), Some(3));
        assert_eq!(message.read(&[2]), None);
        assert!(message.has_begun() && !message.complete);
        // Its end, an empty one, and the beginning of a long one.
        let begun = message.read(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 9]);
        assert_eq!(begun, Some(1 << 16));
        assert!(message.has_begun() && message.complete);
        // One that is complete asks for nothing.
        let mut message = Message::default();
        assert_eq!(message.read(&[0, 0, 0, 0, 2, 7, 7]), None);
        assert!(!message.has_begun() && message.complete);
    }
}
