//! What is decided about a link.

use crate::links::Part;

/// What becomes of a link that closes, or of a seat that nobody has claimed in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// This one takes its place.
    Inherits(u32),
    /// It is a seat from now on, or for longer: somebody may claim.
    Seat,
    /// It is over.
    Ends,
}

/// How a claimed link that is back stands to the others of its MsgServer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Return {
    /// It has claimed later than this one, and succeeds it.
    Succeeds(u32),
    /// This one has claimed later, and succeeds it.
    IsSucceeded(u32),
    /// This one has stood in for it, and goes on doing so.
    Waits {
        /// Its slot.
        stand_in: u32,
    },
    /// It has none.
    Stands,
}

/// The part that an unclaimed link should play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// It should play this one.
    Now(Part),
    /// Its sessions say so, but they may not be all there.
    Doubted,
}

impl Due {
    /// A link that was in doubt for long enough is nobody's shadow.
    pub(crate) fn settled(self) -> Part {
        match self {
            Due::Now(part) => part,
            Due::Doubted => Part::Active,
        }
    }

    /// Until it is sure, a link in doubt is a shadow.
    pub(crate) fn part(self) -> Part {
        match self {
            Due::Now(part) => part,
            Due::Doubted => Part::Shadow,
        }
    }
}
