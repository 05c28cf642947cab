//! What is found while a request is read.

use super::Refusal;

/// What is wrong with a request, of which all is looked at.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Option<Refusal>);

impl Mistakes {
    /// This is wrong.
    pub(crate) fn add(&mut self, refusal: Refusal) {
        self.0 = Some(match self.0.take() {
            Some(former) => former.and(refusal),
            None => refusal,
        });
    }

    /// What was read, unless it is wrong.
    pub(crate) fn note<T>(&mut self, read: Result<T, Refusal>) -> Option<T> {
        read.map_err(|refusal| self.add(refusal)).ok()
    }

    /// Refuses, if anything is wrong.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }

    /// What was read last, if all is right.
    pub(crate) fn end_with<T>(self, last: Result<T, Refusal>) -> Result<T, Refusal> {
        match (self.0, last) {
            (None, last) => last,
            (Some(former), Ok(_)) => Err(former),
            (Some(former), Err(refusal)) => Err(former.and(refusal)),
        }
    }
}
