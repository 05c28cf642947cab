//! Who may do what, through real sockets: credentials, rights, limits, doors, and what happens when files are replaced.

mod credentials;
mod doors;
pub(crate) mod guarded;
mod handshakes;
mod insecure;
mod kinds;
mod limits;
mod log;
mod made;
mod matrix;
mod passed_on;
mod standby;
mod streams;
