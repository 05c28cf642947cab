//! What a piece of memory takes beside what is in it.

/// The least that the allocator gives.
const LEAST: usize = 32;

/// What a block of so many bytes takes of the process's memory: the allocator rounds, and keeps a word. None is no block.
pub fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + size_of::<usize>()).next_multiple_of(16).max(LEAST),
    }
}
