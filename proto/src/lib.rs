//! Every `.proto` of TeamTalk Route, as generated code and as a descriptor set, and what both ends of
//! a protocol have to agree on beside that: the frame of legacy PDUs ([`pdu`]), what an entry of Attach
//! costs ([`attach::cost`]), what a MsgServer may be called ([`attach::is_msg_server_name`]).
//!
//! Nothing else is written by hand: behaviour lives in the crates that use the messages.

/// A module of code that is made from .proto files: it documents itself there, and follows prost's style, not ours.
macro_rules! generated {
    ($(#[$about:meta])* $module:ident { $($code:tt)+ }) => {
        $(#[$about])*
        #[allow(
            missing_docs,
            clippy::all,
            clippy::too_many_lines,
            unreachable_pub,
            rustdoc::invalid_html_tags
        )]
        pub mod $module {
            $($code)+
        }
    };
}

pub mod attach;

pub mod pdu;
pub mod pieces;

pub use route::v1;

/// Named as its package is, for the messages of [`admin`] refer to it so.
mod route {
    generated! {
        /// The public API, package `teamtalk.route.v1`.
        v1 { tonic::include_proto!("teamtalk.route.v1"); }
    }
}

/// What operators ask a node, and tell it.
pub mod admin {
    generated! {
        /// Package `teamtalk.admin.v1alpha1`: for tools of the same release.
        v1alpha1 { tonic::include_proto!("teamtalk.admin.v1alpha1"); }
    }
}

generated! {
    /// The messages of legacy PDU bodies, packages `IM.*`, by their original names.
    legacy { include!(concat!(env!("OUT_DIR"), "/legacy/mod.rs")); }
}

/// Encoded `google.protobuf.FileDescriptorSet` of the public API and of Attach, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/route_descriptor.bin"));
