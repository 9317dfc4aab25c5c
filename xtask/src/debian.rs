//! Programs from Debian's packages: brokers, which the tests start and end themselves, and hledger.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::stage::answers;

/// Each program is in the package of its name.
const PROGRAMS: [&str; 3] = ["mosquitto", "nats-server", "hledger"];
/// What Debian asks before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Finds the programs or installs them. `Err` says why not.
pub(crate) fn installed() -> Result<(), String> {
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !is_here(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !answers("apt-get", "--version") || !is_root() {
        return Err(format!("{packages} not installed; apt-get install {packages}"));
    }
    println!("installing {packages} with apt-get");
    without_services(|| {
        if !install(&missing) {
            // The lists of packages may be old, or not there at all.
            let _ = Command::new("apt-get").args(["update", "-q"]).status();
            install(&missing);
        }
    })
    .map_err(|error| format!("{POLICY}: {error}"))?;
    match missing.into_iter().find(|program| !is_here(program)) {
        Some(program) => Err(format!("apt-get could not install {program}")),
        None => Ok(()),
    }
}

/// On the `PATH`, or where servers are.
fn is_here(program: &&str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn install(packages: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(["install", "-yq", "--no-install-recommends"]).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive").status().is_ok_and(|status| status.success())
}

/// Keeps packages from starting their services meanwhile.
fn without_services(work: impl FnOnce()) -> std::io::Result<()> {
    let policy = Path::new(POLICY);
    if policy.exists() {
        work();
        return Ok(());
    }
    fs::write(policy, "#!/bin/sh\nexit 101\n")?;
    let _ = Command::new("chmod").args(["755", POLICY]).status();
    work();
    fs::remove_file(policy)
}
