//! The operator's rights are the least that work: each one that the manifests give was used by the tests before, and nothing
//! was asked for that they don't give. The witness is the API server's audit log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::Value;
use varve_e2e::wait::{SOON, until};
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

/// What the operator asked for since then, and what it was refused.
fn asked(since: Timestamp) -> Result<(BTreeSet<Right>, BTreeSet<Right>)> {
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for log in logs()? {
        let text = std::fs::read_to_string(&log)?;
        // The last line may be half written.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).with_context(|| format!("read {}", log.display()))?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let at: Timestamp = text(&event["requestReceivedTimestamp"]).parse()?;
            if event["user"]["username"] != OPERATOR || at < since {
                continue;
            }
            let object = &event["objectRef"];
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
    Ok((used, refused))
}

/// Rights of an operator that learns too late, or never, what it has made: it looks who stands there. The storms of the
/// simulation use them.
fn is_after_a_lost_answer(right: &Right, used: &BTreeSet<Right>) -> bool {
    right.strip_prefix("get ").is_some_and(|resource| used.contains(&format!("create {resource}")))
}

#[tokio::test]
async fn the_operator_has_the_rights_that_it_uses_and_no_others() -> Result<()> {
    let since: Timestamp = env("VARVE_E2E_SINCE")?.parse()?;
    // On a cluster that was there before, the Lease is too.
    let leases: Api<Lease> = Api::namespaced(Client::try_default().await?, "varve-system");
    leases.delete("varve-controller", &DeleteParams::default()).await?;
    until("some operator leads", SOON, async || Ok(leases.get_opt("varve-controller").await?.is_some())).await?;

    let (used, refused) = asked(since)?;
    let given = given()?;
    let unused: Vec<&Right> = given.difference(&used).collect();
    println!(
        "{} rights given, {} of them used since {since}; not used: {unused:?}",
        given.len(),
        given.len() - unused.len()
    );
    assert!(refused.is_empty(), "asked for, and not given: {refused:?}");
    let useless: Vec<_> = unused.into_iter().filter(|right| !is_after_a_lost_answer(right, &used)).collect();
    assert!(useless.is_empty(), "given, and never used by any test that ran before this one: {useless:?}");
    Ok(())
}
