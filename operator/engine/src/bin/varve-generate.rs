//! `varve-generate ROOT [--check]`: writes what is generated from the types into the repository at `ROOT`, or says what
//! is stale there: `crds/` and `docs/reference/`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (root, is_check) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [root] => (root, false),
        [root, "--check"] => (root, true),
        _ => {
            eprintln!("usage: varve-generate ROOT [--check]");
            return ExitCode::from(2);
        }
    };
    match generate_all(Path::new(root), is_check) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            eprintln!("error: {}; run cargo xtask generate and commit the result", stale.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate_all(root: &Path, is_check: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let mut stale = generate(&root.join("crds"), &varve_api::crd::files(), is_check)?;
    let mut pages = varve_api::reference::files();
    let page = varve_engine::explain::page();
    pages.push(("explanations.md".into(), format!("{}{page}", varve_api::reference::generated("operator/engine"))));
    stale.extend(generate(&root.join("docs/reference"), &pages, is_check)?);
    Ok(stale)
}

/// Writes what differs, or with `is_check` gives back what differs; files like the generated ones that are not among
/// them in any case.
fn generate(folder: &Path, files: &[(String, String)], is_check: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let shown = folder.display();
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("read folder {shown}: {error}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_generated = files.iter().any(|(known, _)| *known == name);
        if Path::new(&name).extension().is_some_and(|end| end == "yaml" || end == "md") && !is_generated {
            stale.push(format!("{shown}/{name} is generated from nothing"));
        }
    }
    for (name, text) in files {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        if is_check {
            stale.push(format!("{shown}/{name} differs from what the types say"));
        } else {
            std::fs::write(&path, text).map_err(|error| format!("write {}: {error}", path.display()))?;
            println!("{shown}/{name}");
        }
    }
    Ok(stale)
}
