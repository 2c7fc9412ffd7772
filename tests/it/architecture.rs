//! Who may depend on whom: ARCHITECTURE.md's direction of dependencies, held against the manifests.

use std::{collections::BTreeSet, fs, path::Path};

/// Each crate of the workspace with the crates of the workspace that it may build on. What only
/// tests need (dev-dependencies) is not looked at.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("storage", &[]),
    ("actors", &["protocol", "storage"]),
    ("realtime", &["protocol", "storage", "actors"]),
    ("config", &["storage", "actors", "realtime"]),
    ("benches/load", &["protocol"]),
    ("tests/history", &[]),
];

/// What a leaf must not know: it has no I/O, no actors and no clock.
const NOT_IN_PROTOCOL: [&str; 6] = ["tokio", "axum", "hyper", "ractor", "tracing", "metrics"];

fn manifest(folder: &str) -> toml::Table {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let table = manifest["dependencies"].as_table().unwrap();
    table.keys().cloned().collect()
}

#[test]
fn every_crate_stands_in_the_table() {
    let root = manifest("");
    let members = root["workspace"]["members"].as_array().unwrap();
    let members: Vec<_> = members.iter().map(|it| it.as_str().unwrap()).collect();
    let known: Vec<_> = MAY_USE.iter().map(|(folder, _)| *folder).collect();
    assert_eq!(
        BTreeSet::from_iter(members),
        BTreeSet::from_iter(known),
        "say what a new crate may build on"
    );
}

#[test]
fn dependencies_point_one_way() {
    for (folder, allowed) in MAY_USE {
        let used = dependencies(&manifest(folder));
        let own = used.iter().filter_map(|name| name.strip_prefix("quikapp-"));
        for name in own {
            assert!(allowed.contains(&name), "{folder} must not use {name}");
        }
    }
}

#[test]
fn the_protocol_is_a_leaf() {
    let used = dependencies(&manifest("protocol"));
    for name in NOT_IN_PROTOCOL {
        assert!(!used.contains(name), "the protocol uses {name}");
    }
}
