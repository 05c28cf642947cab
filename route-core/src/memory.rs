//! What things really take, for bounds.

/// What an allocation of so many bytes takes: the allocator adds a word, and rounds up.
pub const fn allocated(bytes: usize) -> usize {
    const WORD: usize = 8;
    const STEP: usize = 16;
    const LEAST: usize = 32;
    let whole = (bytes + WORD).next_multiple_of(STEP);
    match bytes {
        0 => 0,
        _ if whole < LEAST => LEAST,
        _ => whole,
    }
}

/// What a PDU takes beside the handles to it: its bytes, and how many handles there are.
pub const fn of_pdu(bytes: usize) -> usize {
    const HANDLES: usize = 24;
    allocated(bytes) + allocated(HANDLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_things_take_more_than_they_are() {
        let taken = [0, 1, 24, 25, 40, 41, 1000].map(allocated);
        assert_eq!(taken, [0, 32, 32, 48, 48, 64, 1008]);
    }
}
