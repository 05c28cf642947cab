//! The legacy protocol: from the bytes of a MsgServer to what they mean for the node, and the PDUs that we make.

pub mod codec;
pub mod deed;
pub mod dialect;
pub mod frame;
pub mod input;
pub mod kick;
pub mod names;
pub mod translate;
pub mod wire;
