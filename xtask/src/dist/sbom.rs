//! The bill of materials, in CycloneDX's JSON: what the agent's file consists of.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::crates::{Crates, Linked};
use super::release::VERSION;
use crate::command::{command, output};

/// Writes it. Nothing in it but the crates depends on when and where it is made.
pub(super) fn bill(arch: &str, epoch: &str, crates: &Crates) -> anyhow::Result<String> {
    let mut time = command("date");
    time.args(["--utc", "--date", &format!("@{epoch}"), "+%FT%TZ"]);
    let libraries = libraries()?;
    let is_agent = |linked: &&Linked| linked.name == "seismograf";
    let agent = crates.values().find(is_agent).context("cargo does not name the agent's crate")?;
    let mut components: Vec<Value> =
        crates.values().filter(|linked| !is_agent(linked)).map(component).collect();
    components.extend(libraries.iter().cloned());
    let dependencies: Vec<Value> = crates
        .values()
        .map(|linked| {
            let mut needs: Vec<String> =
                linked.needs.iter().map(|(name, version)| reference(name, version)).collect();
            if is_agent(&linked) {
                needs.extend(
                    libraries.iter().filter_map(|library| Some(library["bom-ref"].as_str()?.to_owned())),
                );
            }
            json!({"ref": reference(&linked.name, &linked.version), "dependsOn": needs})
        })
        .collect();
    let mut root = component(agent);
    root["type"] = "application".into();
    root["properties"] = json!([{"name": "seismograf:architecture", "value": arch}]);
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": output(&mut time)?.trim(),
            "component": root,
            "tools": {"components": [{"type": "application", "name": "cargo xtask dist", "version": VERSION}]},
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn reference(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

fn component(linked: &Linked) -> Value {
    let reference = reference(&linked.name, &linked.version);
    let mut component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": linked.name,
        "version": linked.version,
        "description": linked.description,
        "licenses": [{"expression": linked.licence}],
        "purl": reference,
    });
    if let Some(checksum) = &linked.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// What is linked besides crates: the libraries of C and of Rust.
fn libraries() -> anyhow::Result<Vec<Value>> {
    let glibc = output(command("getconf").arg("GNU_LIBC_VERSION"))?;
    let glibc = glibc.trim().trim_start_matches("glibc ");
    let rust = output(command("rustc").arg("--version"))?;
    let rust = rust.split(' ').nth(1).context("rustc does not say its version")?;
    Ok([("glibc", glibc, "LGPL-2.1-or-later"), ("rust-std", rust, "MIT OR Apache-2.0")]
        .into_iter()
        .map(|(name, version, licence)| {
            let reference = format!("pkg:generic/{name}@{version}");
            json!({
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "licenses": [{"expression": licence}],
                "purl": reference,
            })
        })
        .collect())
}
