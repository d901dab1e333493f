//! `varve-crds FOLDER [--check]`: writes the `CustomResourceDefinitions` of the types into a folder, or says what is stale.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, is_check) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder] => (folder, false),
        [folder, "--check"] => (folder, true),
        _ => {
            eprintln!("usage: varve-crds FOLDER [--check]");
            return ExitCode::from(2);
        }
    };
    match generate(Path::new(folder), is_check) {
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

/// Writes what differs, or with `is_check` gives back what differs; files that belong to no kind in any case.
fn generate(folder: &Path, is_check: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let shown = folder.display();
    let mut stale = Vec::new();
    let files = varve_api::crd::files();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("read folder {shown}: {error}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_generated = files.iter().any(|(known, _)| *known == name);
        if Path::new(&name).extension().is_some_and(|end| end == "yaml") && !is_generated {
            stale.push(format!("{shown}/{name} belongs to no kind"));
        }
    }
    for (name, text) in files {
        let path = folder.join(&name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
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
