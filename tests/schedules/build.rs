//! Selects shuttle for the sources of xs-client.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Read by xs-client/src/sync.rs.
    println!("cargo:rustc-cfg=xs_shuttle");
    // The features of xs-client that this package does not have.
    let features = r#""cli", "mio", "smol", "tokio", "tracing""#;
    println!("cargo:rustc-check-cfg=cfg(feature, values({features}))");
}
