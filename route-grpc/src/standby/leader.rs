//! Who leads.

/// The node that leads, in one term of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The URL of its public port.
    pub api_url: String,
    /// Its term: another one is another life, also at the same URL.
    pub term: u64,
}
