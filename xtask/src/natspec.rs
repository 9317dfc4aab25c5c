//! Holds the contracts to what their README says: every external function that changes something lists its checks, and
//! among them that it is not re-entered, where it has the guard.
//!
//! A reader who reviews a contract goes through the line `Checks: …` of each function and compares it with the code, so a
//! function without one is a function that nobody compared.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Fails when an external function that changes state has no line of NatSpec that begins with `Checks:`, or has the
/// guard against re-entrance and does not name its error.
pub(crate) fn check(sources: &Path) -> Result<()> {
    let mut unlisted = Vec::new();
    for path in solidity_files(sources)? {
        let text = fs::read_to_string(&path)?;
        let name = path.strip_prefix(sources).unwrap_or(&path).display().to_string();
        unlisted.extend(without_checks(&text).into_iter().map(|what| format!("{name}: {what}")));
    }
    ensure!(
        unlisted.is_empty(),
        "external functions whose NatSpec has no line `Checks: ...`, or lacks `{REENTERED}` there:\n{}",
        unlisted.join("\n")
    );
    Ok(())
}

fn solidity_files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(solidity_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sol") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The signatures of the functions of contracts that change state from outside and list no checks. Reads the form that
/// `forge fmt` writes; interfaces and libraries are left out.
fn without_checks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut in_contract, mut listed, mut reentered) = (false, false, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = ["contract ", "abstract contract ", "interface ", "library "]
            .iter()
            .find(|kind| line.starts_with(**kind))
        {
            in_contract = kind.contains("contract");
        }
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("///") {
            let comment = comment.trim_start();
            let comment = comment.strip_prefix("@dev ").unwrap_or(comment);
            listed |= comment.starts_with("Checks:");
            reentered |= comment.contains(REENTERED);
            continue;
        }
        if line.starts_with("function ") {
            let mut signature = line.to_owned();
            while !signature.contains(['{', ';']) {
                let Some(more) = lines.next() else { break };
                signature = format!("{signature} {}", more.trim());
            }
            let complete = listed && (reentered || !signature.contains("nonReentrant"));
            if in_contract && changes_from_outside(&signature) && !complete {
                found.push(signature);
            }
        }
        (listed, reentered) = (false, false);
    }
    found
}

fn changes_from_outside(signature: &str) -> bool {
    let has = |wanted: &str| {
        signature.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == wanted)
    };
    (has("external") || has("public")) && !has("view") && !has("pure")
}

/// What the guard against re-entrance reverts with.
const REENTERED: &str = "ReentrancyGuardReentrantCall";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_our_contracts_lists_its_checks() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../depin-evm/contracts/src");
        check(&sources).unwrap();
    }

    #[test]
    fn a_function_without_its_checks_is_found() {
        let text = "contract A {\n    /// @notice Pays.\n    function pay(uint256 a)\n        external\n    {\n\
                    /// @dev Checks: none.\n    function free() external {}\n    function look() external view {}\n\
                    function inner() private {}\n}\ninterface B {\n    function of() external;\n}\n";
        assert_eq!(without_checks(text), ["function pay(uint256 a) external {"]);
    }

    #[test]
    fn a_guard_whose_error_is_not_listed_is_found() {
        let text = "contract A {\n    /// @dev Checks: none.\n    function pay() external nonReentrant {}\n\
                    /// @dev Checks: none (`ReentrancyGuardReentrantCall`).\n    function buy() external nonReentrant {}\n}\n";
        assert_eq!(without_checks(text), ["function pay() external nonReentrant {}"]);
    }
}
