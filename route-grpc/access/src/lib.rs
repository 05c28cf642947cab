//! Who calls a node, and what he may do there.
//!
//! **Architecture invariant:** nothing here knows a socket, a clock, a file or gRPC. What comes in
//! are bytes, texts and the time; what goes out are identities, rights and reasons.
