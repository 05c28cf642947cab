//! System tests: MsgServers played over TCP against the real binaries.
//!
//! The story: a [`deployment`] starts the servers, [`player`] connects to them as MsgServers do,
//! a [`stage`] has several of them for one play, [`scenarios`] are the plays, [`recording`] says what the C++ RouteServer did in the same plays,
//! and [`rules`] is a naive model of the written rules, for plays that were never recorded.
//! [`interruptions`] are done to the servers while a [`cast`] of MsgServers works and is judged;
//! [`dice`] decide what happens; a [`siege`] is peers that behave badly meanwhile. [`forks`] are what MsgServers of TeamTalk's forks write.
//!
//! What is absent: nothing here uses the codec or the presence table of the servers. The player has
//! its own, so that a mistake cannot agree with itself.

pub mod cast;
pub mod deployment;
pub mod dice;
pub mod forks;
pub mod interruptions;
pub mod player;
pub mod recording;
pub mod rules;
pub mod scenarios;
pub mod siege;
pub mod stage;
