//! `generate [--check]`: the files of `crds/`, from the types of varve-api.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;

pub(crate) fn generate(check: bool) -> Result<()> {
    let folder = run::root().join("crds");
    let mut stale = Vec::new();
    let files = varve_api::crd::files();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read folder {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_generated = name == "kustomization.yaml" || files.iter().any(|(known, _)| *known == name);
        if Path::new(&name).extension().is_some_and(|end| end == "yaml") && !is_generated {
            stale.push(format!("crds/{name} belongs to no kind"));
        }
    }
    for (name, text) in files {
        let path = folder.join(&name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if check {
            stale.push(format!("crds/{name} differs from what the types say"));
        } else {
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            println!("crds/{name}");
        }
    }
    if !stale.is_empty() {
        bail!("{}; run cargo xtask generate and commit the result", stale.join(", "));
    }
    Ok(())
}
