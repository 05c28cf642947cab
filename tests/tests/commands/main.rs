//! The commands as operators meet them: what they refuse, how they end, what `route-grpc check` finds.

mod check;
mod settings;
