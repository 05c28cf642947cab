//! A node on a port of its own, played gateways and ordinary clients, all by the generated code.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a panic is how a test fails

mod access;
mod admin;
mod admin_errors;
mod attach;
mod bounds;
mod broadcast;
mod changed_sets;
mod checks;
mod closed_links;
mod drains;
mod errors;
mod explain;
mod figures;
mod filters;
mod framing;
mod full;
mod hand_over;
mod kicked_users;
mod kicks;
mod leadership;
mod lists;
mod mistakes;
mod played;
mod presence;
mod publish;
mod reads;
mod recipients;
mod routed;
mod screens;
mod server;
mod site;
mod standby;
mod watches;
mod wire;
mod work;
