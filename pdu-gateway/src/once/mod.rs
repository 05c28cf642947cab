//! Nothing is written to a link twice, and no kick hits who came after it.

pub mod old_kicks;
pub mod recent_logins;
pub mod takeover;
