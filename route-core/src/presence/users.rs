//! Users by id, in many small tables: each grows by itself, so that no growth holds others up.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::records::{Head, NIL};

/// With eight million users, four thousand are in a table.
const TABLES: usize = 2048;

/// Where the list of each user's sessions begins.
pub(super) struct Users {
    hasher: RandomState,
    tables: Box<[HashTable<(u32, Head)>]>,
    len: usize,
}

impl Users {
    /// None yet.
    pub(super) fn new() -> Self {
        Users {
            hasher: RandomState::default(),
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            len: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A user with sessions.
    pub(super) fn get(&self, user: u32) -> Option<Head> {
        let (table, hash) = self.place(user);
        let found = self.tables[table].find(hash, |(it, _)| *it == user);
        found.map(|(_, head)| *head)
    }

    /// The list of this user's sessions begins there; the user goes if it is empty.
    pub(super) fn set(&mut self, user: u32, head: Head) {
        let (table, hash) = self.place(user);
        let (table, hasher) = (&mut self.tables[table], &self.hasher);
        let is_user = |(it, _): &(u32, Head)| *it == user;
        if head.first() == NIL {
            if let Ok(entry) = table.find_entry(hash, is_user) {
                entry.remove();
                self.len -= 1;
            }
            return;
        }
        match table.find_mut(hash, is_user) {
            Some((_, known)) => *known = head,
            None => {
                table.insert_unique(hash, (user, head), |(it, _)| hasher.hash_one(it));
                self.len += 1;
            }
        }
    }

    fn place(&self, user: u32) -> (usize, u64) {
        let hash = self.hasher.hash_one(user);
        // The tables themselves look at the lowest bits, and at the highest.
        ((hash >> 32) as usize % TABLES, hash)
    }
}
