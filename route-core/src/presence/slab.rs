//! Sessions by place. What grows is never moved: a new chunk is added.

use super::session::Session;

/// Sessions in a chunk.
const CHUNK: usize = 1024;

/// Places that are, or were, taken.
#[derive(Debug, Default)]
pub(super) struct Slab {
    /// All but the last one are full.
    chunks: Vec<Vec<Session>>,
    len: usize,
}

impl Slab {
    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: u32) -> Option<&Session> {
        let (chunk, place) = place(at);
        self.chunks.get(chunk)?.get(place)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Session> {
        let (chunk, place) = place(at);
        self.chunks.get_mut(chunk)?.get_mut(place)
    }

    /// Adds a place at the end. Returns which.
    pub(super) fn push(&mut self, session: Session) -> u32 {
        let at = self.len as u32;
        let (chunk, _) = place(at);
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[chunk].push(session);
        self.len += 1;
        at
    }

    /// Places from one on, in order.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = &Session> {
        let (chunk, place) = place(at as u32);
        let chunks = self.chunks.iter().skip(chunk).flatten();
        chunks.skip(place)
    }
}

impl std::ops::Index<u32> for Slab {
    type Output = Session;

    fn index(&self, at: u32) -> &Session {
        let (chunk, place) = place(at);
        &self.chunks[chunk][place]
    }
}

impl std::ops::IndexMut<u32> for Slab {
    fn index_mut(&mut self, at: u32) -> &mut Session {
        let (chunk, place) = place(at);
        &mut self.chunks[chunk][place]
    }
}

fn place(at: u32) -> (usize, usize) {
    (at as usize / CHUNK, at as usize % CHUNK)
}
