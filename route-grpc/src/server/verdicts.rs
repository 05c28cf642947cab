//! What HTTP/2 says against a peer. The library ends connections and streams by itself, without a
//! word to us: it is read from the frames that it writes.

/// Bytes before the payload of a frame.
const HEADER: usize = 9;

/// Where the reason stands in the two frames that have one, and so how much is kept of a frame.
const RESET_REASON: usize = HEADER;
const GOAWAY_REASON: usize = HEADER + 4;
const KEPT: usize = GOAWAY_REASON + 4;

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Not an error, and what is usual when a side has no more use for a stream.
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// What was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Connection,
    Stream,
}

impl Scope {
    /// As a label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Stream => "stream",
        }
    }
}

/// Something was ended, and why, by the names of RFC 9113.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) scope: Scope,
    pub(super) reason: &'static str,
}

impl Verdict {
    /// The peer speaks something else.
    pub(super) const NOT_HTTP2: Self = Self {
        scope: Scope::Connection,
        reason: "not_http2",
    };

    /// Nobody was let in on it.
    pub(super) const STRANGE: Self = Self {
        scope: Scope::Connection,
        reason: "strange",
    };

    /// Everything that there may be.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let scopes = [Scope::Connection, Scope::Stream].into_iter();
        // One beyond the codes that have names.
        let found = scopes.flat_map(|scope| (0..=14).filter_map(move |code| Self::of(scope, code)));
        found.chain([Self::NOT_HTTP2, Self::STRANGE])
    }

    fn of(scope: Scope, code: u32) -> Option<Self> {
        let reason = match code {
            NO_ERROR | CANCEL => return None,
            1 => "protocol_error",
            2 => "internal_error",
            3 => "flow_control_error",
            4 => "settings_timeout",
            5 => "stream_closed",
            6 => "frame_size_error",
            7 => "refused_stream",
            9 => "compression_error",
            11 => "enhance_your_calm",
            _ => "other",
        };
        Some(Self { scope, reason })
    }
}

/// The frames of one connection, as far as they were written.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of the frame that is being written.
    start: [u8; KEPT],
    kept: usize,
    /// What is still to come of it beyond that, bytes.
    rest: usize,
}

impl Frames {
    /// These bytes were written.
    pub(super) fn wrote(&mut self, mut bytes: &[u8], mut ended: impl FnMut(Verdict)) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let taken = self.wanted().min(bytes.len());
            self.start[self.kept..self.kept + taken].copy_from_slice(&bytes[..taken]);
            self.kept += taken;
            bytes = &bytes[taken..];
            if self.rest == 0 && self.kept > 0 && self.wanted() == 0 {
                if let Some(verdict) = self.verdict() {
                    ended(verdict);
                }
                self.rest = (HEADER + self.payload()).saturating_sub(self.kept);
                self.kept = 0;
            }
        }
    }

    /// How much more is to be kept of this frame.
    fn wanted(&self) -> usize {
        if self.rest > 0 {
            return 0;
        }
        let wanted = match self.start[3] {
            _ if self.kept < HEADER => HEADER,
            RST_STREAM | GOAWAY => KEPT.min(HEADER + self.payload()),
            _ => HEADER,
        };
        wanted - self.kept
    }

    fn payload(&self) -> usize {
        let [a, b, c, ..] = self.start;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    fn verdict(&self) -> Option<Verdict> {
        let (scope, at) = match self.start[3] {
            RST_STREAM => (Scope::Stream, RESET_REASON),
            GOAWAY => (Scope::Connection, GOAWAY_REASON),
            _ => return None,
        };
        let code = self.start[..self.kept].get(at..)?.first_chunk()?;
        Verdict::of(scope, u32::from_be_bytes(*code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM_DOWN: Verdict = Verdict {
        scope: Scope::Connection,
        reason: "enhance_your_calm",
    };
    const REFUSED: Verdict = Verdict {
        scope: Scope::Stream,
        reason: "refused_stream",
    };

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    fn goaway(code: u8, debug: &[u8]) -> Vec<u8> {
        frame(GOAWAY, &[&[0, 0, 0, 9, 0, 0, 0, code], debug].concat())
    }

    fn reset(code: u8) -> Vec<u8> {
        frame(RST_STREAM, &[0, 0, 0, code])
    }

    #[test]
    fn what_is_ended_is_found_among_other_frames_however_they_are_cut() {
        let written = [
            frame(4, &[7; 6]),
            frame(0, &[RST_STREAM; 40_000]),
            reset(7),
            reset(8),
            frame(0, b""),
            goaway(0, b""),
            goaway(11, b"too_many_resets"),
            frame(6, &[GOAWAY; 8]),
        ]
        .concat();
        for cut in [1, 2, 5, 9, 13, 17, 1000, written.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());

            for piece in written.chunks(cut) {
                frames.wrote(piece, |verdict| found.push(verdict));
            }

            assert_eq!(found, [REFUSED, CALM_DOWN], "in pieces of {cut}");
        }
    }

    #[test]
    fn a_frame_that_is_too_short_to_say_why_says_nothing() {
        let mut found = Vec::new();
        let written = [frame(GOAWAY, &[0; 3]), reset(7)].concat();

        Frames::default().wrote(&written, |verdict| found.push(verdict));

        assert_eq!(found, [REFUSED]);
    }
}
