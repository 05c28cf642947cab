//! The legacy protocol: from the bytes of a MsgServer to what they mean for the node. How bodies are read and written is
//! said by a [`Dialect`](route_dialect::Dialect).

pub mod complaints;
pub mod deed;
pub mod frame;
pub mod input;
pub mod kick;
pub mod protocol;
pub mod translate;
