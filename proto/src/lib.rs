//! Every `.proto` of TeamTalk Route, as generated code and as a descriptor set.
//!
//! Nothing here is written by hand but this file and `build.rs`: behaviour lives in the crates that use the
//! messages.

// Generated code documents itself in the .proto files and follows prost's style, not ours.
#![allow(missing_docs, clippy::all, unreachable_pub, rustdoc::invalid_html_tags)]

/// The public API, package `teamtalk.route.v1`.
pub mod v1 {
    tonic::include_proto!("teamtalk.route.v1");
}

/// What gateways and nodes say to each other, and nobody else: package `teamtalk.attach.v1`.
pub mod attach {
    /// Its only version.
    pub mod v1 {
        tonic::include_proto!("teamtalk.attach.v1");
    }
}

/// The messages of legacy PDU bodies, packages `IM.*`, by their original names.
pub mod legacy {
    include!(concat!(env!("OUT_DIR"), "/legacy/mod.rs"));
}

/// Encoded `google.protobuf.FileDescriptorSet` of the public API and of Attach, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/route_descriptor.bin"));
