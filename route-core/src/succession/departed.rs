//! Whose links were that have ended, so that what is lost of them later has a name.

use std::collections::VecDeque;

use crate::ids::LinkId;
use crate::transition::Whose;

/// The latest ones: as many as heirs are remembered.
#[derive(Debug, Default)]
pub(super) struct Departed(VecDeque<(LinkId, Whose)>);

impl Departed {
    const MOST: usize = 1024;

    /// This one has ended.
    pub(super) fn add(&mut self, link: LinkId, whose: Whose) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((link, whose));
    }

    /// Whose it was.
    pub(super) fn whose(&self, link: LinkId) -> Option<&Whose> {
        let mut latest = self.0.iter().rev();
        latest.find_map(|(ended, whose)| (*ended == link).then_some(whose))
    }
}
