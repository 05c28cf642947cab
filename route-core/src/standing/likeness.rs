//! How alike two links' tables are: that is what tells MsgServers of one address apart.

/// Two links that may be of one MsgServer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Likeness {
    /// They have one name, so they are.
    pub(super) named: bool,
    /// Sessions that both hold.
    pub(super) shared: u32,
    /// Sessions of the larger table.
    pub(super) larger: u32,
}

impl Likeness {
    /// They hold much the same: half of the larger table, or more.
    pub(super) fn is_great(self) -> bool {
        self.named || self.of_tables()
    }

    /// The same, whatever their names are.
    pub(super) fn of_tables(self) -> bool {
        self.shared > 0 && u64::from(self.shared) * 2 >= u64::from(self.larger)
    }

    /// Neither holds anything.
    pub(super) fn is_of_nothing(self) -> bool {
        self.larger == 0
    }

    /// A name says more than any table.
    pub(super) fn exceeds(self, other: Likeness) -> bool {
        let weighed = |a: Likeness, b: Likeness| u64::from(a.shared) * u64::from(b.larger.max(1));
        match (self.named, other.named) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => weighed(self, other) > weighed(other, self),
        }
    }
}
