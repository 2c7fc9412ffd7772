//! The references made from the code are the ones in the repository.
//! `QUIKAPP_BLESS=1 cargo test reference` rewrites them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

fn compare(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the test, not a setting"
    )]
    if std::env::var("QUIKAPP_BLESS").is_ok() {
        std::fs::write(&path, made).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == made,
        "{name} differs from the code: run `just bless`"
    );
}

#[test]
fn reference_example() {
    compare("quikapp.example.toml", &quikapp_config::example_toml());
}

#[test]
fn reference_configuration() {
    compare(
        "docs/configuration.md",
        &quikapp_config::reference_markdown(),
    );
}
