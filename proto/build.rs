//! Compiles the `.proto` files without `protoc`: the public API, what gateways speak, the legacy messages.

use std::path::{Path, PathBuf};

use prost::Message;

const API: [&str; 6] = [
    "teamtalk/route/v1/error.proto",
    "teamtalk/route/v1/stream.proto",
    "teamtalk/route/v1/presence.proto",
    "teamtalk/route/v1/broadcast.proto",
    "teamtalk/route/v1/server.proto",
    "teamtalk/admin/v1alpha1/admin.proto",
];

const ATTACH: &str = "teamtalk/attach/v1/attach.proto";

/// The legacy files import each other flat, so their folder is an include root of its own.
const LEGACY: [&str; 8] = [
    "IM.BaseDefine.proto",
    "IM.Buddy.proto",
    "IM.File.proto",
    "IM.Group.proto",
    "IM.Message.proto",
    "IM.Other.proto",
    "IM.Server.proto",
    "IM.SwitchService.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=teamtalk");
    println!("cargo:rerun-if-changed=legacy");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let all = protox::compile(API.into_iter().chain([ATTACH]), ["."])?;
    std::fs::write(out.join("route_descriptor.bin"), all.encode_to_vec())?;
    // A message knows its name, by which its descriptor is found.
    let mut named = tonic_prost_build::Config::new();
    named.enable_type_names();
    tonic_prost_build::configure()
        // Payloads pass through: a handle, not a copy.
        .bytes(".")
        .build_transport(true)
        .codec_path("crate::pieces::PiecesCodec")
        .compile_fds_with_config(protox::compile(API, ["."])?, named)?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(true)
        .codec_path("crate::attach::codec::CountedCodec")
        .compile_fds(protox::compile([ATTACH], ["."])?)?;

    let legacy_out = out.join("legacy");
    std::fs::create_dir_all(&legacy_out)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .bytes(".")
        .out_dir(&legacy_out)
        .include_file("mod.rs")
        .compile_fds(protox::compile(LEGACY, [Path::new("legacy")])?)?;
    Ok(())
}
