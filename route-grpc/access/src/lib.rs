//! Who calls a node, and what he may do there.
//!
//! A caller is an [`Identity`]: the [`Certificate`] of his connection, the [`Token`] of his call, both, or neither. A
//! [`Policy`] says which [`Rights`] he has. Of a call that another node passes on, that node has [`Vouched`] for the caller.
//!
//! **Architecture invariant:** nothing here knows a socket, a clock, a file or gRPC. What comes in
//! are bytes, texts and the time; what goes out are identities, rights and reasons.

mod certificate;
mod identity;
mod policy;
mod printable;
mod token;
mod vouched;

pub use certificate::{Certificate, CertificateError};
pub use identity::Identity;
pub use policy::{Kind, Limits, Policy, PolicyError, Rights, Role};
pub use token::{Keys, KeysError, SkippedKey, Token, TokenError, TokenRules};
pub use vouched::{Vouched, VouchedError};
