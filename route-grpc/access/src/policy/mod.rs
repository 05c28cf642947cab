//! Who may do what: a file of entries, each of which gives rights to some identities.

mod file;
mod kind;
mod pattern;
mod rights;

#[cfg(test)]
mod tests;

pub use file::PolicyError;
pub use kind::Kind;
pub use rights::{Limits, Rights, Role};

use self::pattern::Pattern;
use crate::identity::Identity;
use crate::token::Token;

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Policy {
    entries: Vec<Entry>,
}

/// Rights, and who has them.
#[derive(Clone, Debug)]
struct Entry {
    who: Who,
    rights: Rights,
}

#[derive(Clone, Debug)]
enum Who {
    /// A certificate with such a URI.
    Uri(Pattern),
    /// A certificate with this DNS name, which is in lower case.
    Dns(String),
    /// A token of such a subject.
    Subject(Pattern, Issuer),
    /// A token of a member of this group.
    Group(String, Issuer),
}

/// Who issued the token, if that counts.
type Issuer = Option<String>;

impl Policy {
    /// Reads a policy file, TOML. `docs/policy.md` says what may be in it.
    ///
    /// # Errors
    /// Something in it is not understood, or cannot be meant. Then it counts for nothing.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        file::read(text).map(|entries| Self { entries })
    }

    /// What an identity may do: whatever an entry gives that it matches.
    pub fn rights(&self, identity: &Identity) -> Rights {
        let mut rights = Rights::none();
        for entry in self.entries.iter().filter(|entry| entry.who.is(identity)) {
            rights.add(&entry.rights);
        }
        rights
    }

    /// How many entries it has. 0: nobody may do anything.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }
}

impl Who {
    fn is(&self, identity: &Identity) -> bool {
        let (certificate, token) = (identity.certificate.as_ref(), identity.token.as_ref());
        match self {
            Self::Uri(pattern) => {
                certificate.is_some_and(|it| it.uris.iter().any(|uri| pattern.matches(uri)))
            }
            Self::Dns(name) => certificate.is_some_and(|it| it.dns.contains(name)),
            Self::Subject(pattern, issuer) => {
                token.is_some_and(|it| is_of(it, issuer) && pattern.matches(&it.subject))
            }
            Self::Group(group, issuer) => {
                token.is_some_and(|it| is_of(it, issuer) && it.groups.contains(group))
            }
        }
    }
}

fn is_of(token: &Token, issuer: &Issuer) -> bool {
    issuer.is_none() || token.issuer == *issuer
}
