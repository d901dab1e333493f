//! The operator's rights are the least that work: each one that the manifests give was used by the tests before, and nothing
//! was asked for that they don't give. The witness is the API server's audit log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;
use varve_e2e::{documents, env};

/// Whose rights.
const OPERATOR: &str = "system:serviceaccount:varve-system:varve";

/// A right, for people: verb, group and resource.
type Right = String;

fn right(verb: &str, group: &str, resource: &str) -> Right {
    format!("{verb} {}{resource}", if group.is_empty() { String::new() } else { format!("{group}/") })
}

/// What the manifests give to the operator.
fn given() -> Result<BTreeSet<Right>> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let mut rights = BTreeSet::new();
    for file in ["cluster-role.yaml", "lease-role.yaml"] {
        let text = std::fs::read_to_string(manifests.join(file)).with_context(|| format!("read {file}"))?;
        for role in documents(&text)?.into_iter().filter(|object| object["rules"].is_array()) {
            let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone())?;
            for rule in &rules {
                let pairs = rule.api_groups.iter().flatten().flat_map(|group| {
                    let resources = rule.resources.iter().flatten();
                    resources.map(move |resource| (group, resource))
                });
                for (group, resource) in pairs {
                    rights.extend(rule.verbs.iter().map(|verb| right(verb, group, resource)));
                }
            }
        }
    }
    ensure!(!rights.is_empty(), "no rules in the manifests");
    Ok(rights)
}

/// The audit log, and what it was cut into.
fn logs() -> Result<Vec<PathBuf>> {
    let newest = PathBuf::from(env("VARVE_AUDIT_LOG")?);
    let folder = newest.parent().context("the log's folder")?;
    let names = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("audit") && path.extension().is_some_and(|extension| extension == "log")
    };
    Ok(names.into_iter().map(|entry| entry.path()).filter(is_log).collect())
}

#[test]
fn the_operator_has_the_rights_that_it_uses_and_no_others() -> Result<()> {
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for log in logs()? {
        for line in std::fs::read_to_string(&log)?.lines() {
            let event: Value = serde_json::from_str(line).with_context(|| format!("read {}", log.display()))?;
            if event["user"]["username"] != OPERATOR {
                continue;
            }
            let (object, text) = (&event["objectRef"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
            let resource = match object["subresource"].as_str() {
                Some(part) => format!("{}/{part}", text(&object["resource"])),
                None => text(&object["resource"]),
            };
            if resource.is_empty() {
                continue; // discovery, which everybody may
            }
            let right = right(&text(&event["verb"]), &text(&object["apiGroup"]), &resource);
            if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
                refused.insert(right);
            } else {
                used.insert(right);
            }
        }
    }
    let given = given()?;
    let unused: Vec<&Right> = given.difference(&used).collect();
    println!("{} rights given, {} of them used", given.len(), given.len() - unused.len());
    assert!(refused.is_empty(), "asked for, and not given: {refused:?}");
    assert!(unused.is_empty(), "given, and never used by any test that ran before this one: {unused:?}");
    Ok(())
}
