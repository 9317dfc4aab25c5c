//! Who may know whom: core below, siblings side by side, the facade above.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

const SIBLINGS: [&str; 4] = ["depin-data", "depin-hw", "depin-identity", "depin-payment"];
const PRIVATE: [&str; 8] = [
    "climate",
    "depin-stories",
    "device-identity",
    "drive",
    "metered-api",
    "quickstart",
    "treasury",
    "xtask",
];

/// What a published crate may depend on in normal use, within the workspace.
const MAY: [(&str, &[&str]); 9] = [
    ("depin-core", &[]),
    ("depin-devnet", &[]),
    ("depin-evm", &["depin-core"]),
    ("depin-testkit", &["depin-core"]),
    ("depin-data", &["depin-core"]),
    ("depin-hw", &["depin-core"]),
    ("depin-identity", &["depin-core", "depin-evm"]),
    ("depin-payment", &["depin-core", "depin-evm"]),
    (
        "depin",
        &[
            "depin-core",
            "depin-data",
            "depin-devnet",
            "depin-evm",
            "depin-hw",
            "depin-identity",
            "depin-payment",
        ],
    ),
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata answers")
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let may: BTreeMap<_, _> = MAY.into_iter().collect();
    for package in metadata().workspace_packages() {
        let name = package.name.as_str();
        if PRIVATE.contains(&name) {
            assert_eq!(package.publish.as_deref(), Some(&[][..]), "{name} must not be published");
            continue;
        }
        let allowed = may
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no place in the graph; give it one"));
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal && d.path.is_some())
        {
            let below = dependency.name.as_str();
            assert!(allowed.contains(&below), "{name} must not depend on {below}");
            let chain = ["depin-devnet", "depin-evm"].contains(&below);
            assert!(!chain || dependency.optional, "{name} must know {below} only under a feature");
        }
    }
}

#[test]
fn siblings_never_import_each_other_even_in_tests() {
    for package in metadata().workspace_packages() {
        let name = package.name.as_str();
        if SIBLINGS.contains(&name) {
            let others = package
                .dependencies
                .iter()
                .map(|d| d.name.as_str())
                .filter(|d| SIBLINGS.contains(d));
            assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
        }
    }
}

#[test]
fn core_has_at_most_twelve_direct_dependencies_beside_the_c_of_fast() {
    let metadata = metadata();
    let core =
        metadata.packages.iter().find(|package| package.name == "depin-core").expect("core exists");
    let fast = core.features.get("fast").expect("core has the feature");
    let optional: BTreeSet<_> = fast.iter().filter_map(|name| name.strip_prefix("dep:")).collect();
    let normal = core.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    let names: BTreeSet<_> =
        normal.map(|d| d.name.as_str()).filter(|name| !optional.contains(name)).collect();
    assert!(names.len() <= 12, "{names:?}");
}

#[test]
fn identity_stays_a_small_tree() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args("tree -p depin-identity -e normal --prefix none --format {p}".split(' '))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo tree answers");
    let text = String::from_utf8(output.stdout).expect("crates have names");
    let crates: BTreeSet<_> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    assert!(crates.len() > 20, "cargo tree gave {text:?}");
    assert!(crates.len() <= 60, "{}: {crates:#?}", crates.len());
}

#[test]
fn every_dependency_is_chosen_in_the_one_table() {
    // Examples are made to be copied out, so they say everything themselves.
    let metadata = metadata();
    let packages = metadata.workspace_packages().into_iter();
    for package in packages.filter(|package| !package.manifest_path.as_str().contains("/examples/"))
    {
        let manifest =
            std::fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
        let dependencies = manifest.split("dependencies]").skip(1);
        for line in
            dependencies.flat_map(|section| section.split("\n[").next().unwrap_or("").lines())
        {
            let versioned = line.contains(" version =")
                || line.split(" = ").nth(1).is_some_and(|v| v.starts_with('"'));
            assert!(
                !versioned,
                "{}: choose the version in the workspace table: {line}",
                package.name
            );
        }
    }
}
