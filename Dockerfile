# One image with both binaries: a site runs them in the same version, there is one thing to scan and to sign, and
# pdu-gateway contains the node anyway, for --embedded. Nothing else is in it: no shell, no libc, no package.
#
#     docker build -t teamtalk-route:0.1.0 .        (or buildah, podman)
#     docker run -p 8200:8200 teamtalk-route:0.1.0
#
# The same sources make the same image, if its times are fixed too:
#
#     buildah build --timestamp "$(git log -1 --format=%ct)" -t teamtalk-route:0.1.0 .
#
# Static against musl, not glibc: glibc's static binaries still load its shared parts to resolve names, which an empty image
# does not have, and gateways find their node by name. It costs some CPU: docs/capacity.md.

FROM docker.io/library/rust:1.95.0-slim-bookworm AS build

# For another architecture: --build-arg TARGET=aarch64-unknown-linux-musl, on a machine of that architecture.
ARG TARGET=x86_64-unknown-linux-musl
# Rust records the paths of sources: the same folders for everybody make the same bytes for everybody.
ENV CARGO_HOME=/build/cargo \
    CARGO_TARGET_DIR=/build/target \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    RUSTFLAGS="--remap-path-prefix=/build=. -C target-feature=+crt-static"
WORKDIR /build/source

COPY rust-toolchain.toml ./
# cargo-auditable writes into each binary what it was built of, so that scanners of images and `cargo audit bin` find it.
RUN rustup target add "$TARGET" \
    && cargo install --locked cargo-auditable@0.7.7

COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo/
COPY proto proto/
COPY route-core route-core/
COPY route-grpc route-grpc/
COPY pdu-gateway pdu-gateway/
# Not built, but a member of the workspace.
COPY tests tests/
RUN cargo auditable build --release --locked --target "$TARGET" --package route-cli --package pdu-gateway --bins \
    && install -D --target-directory=/build/image \
        "/build/target/$TARGET/release/route-grpc" "/build/target/$TARGET/release/pdu-gateway"

FROM scratch

COPY --from=build /build/image/ /

# By number: there is no /etc/passwd.
USER 65532:65532

# MsgServers, gRPC, metrics and probes.
EXPOSE 8200 50051 9464

# Without arguments: gateway and node in one process. The node alone: --entrypoint /route-grpc, serve.
ENTRYPOINT ["/pdu-gateway"]
CMD ["--embedded"]
