//! Varve's image: both programs, static, in an image from scratch; and the example's images beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::{self, Access, Cluster};
use crate::{example, packages, run};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Ours alone, see the workspace's Cargo.toml: optimised, but not for minutes.
const PROFILE: &str = "image";

/// What was pushed, each by digest, and the program beside them.
pub(crate) struct Images {
    tool: PathBuf,
    pub(crate) varve: String,
    pub(crate) edges: String,
    pub(crate) montage: String,
}

impl Images {
    /// Variables for the tests.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 3] {
        [("VARVE_IMAGE", &self.varve), ("VARVE_EDGES_IMAGE", &self.edges), ("VARVE_MONTAGE_IMAGE", &self.montage)]
    }

    /// `varve-e2e …` on this cluster.
    pub(crate) fn tool(&self, access: &Access, arguments: &[&str]) -> Command {
        let mut command = run::command(&self.tool, arguments);
        command.envs(&access.environment);
        command
    }
}

/// `cargo xtask images`.
pub(crate) fn images() -> Result<()> {
    let images = build_and_push(&Cluster::of_the_user().up()?)?;
    for (_, reference) in images.environment() {
        println!("{reference}");
    }
    Ok(())
}

/// `cargo xtask images --to ARCHIVE`.
pub(crate) fn write(to: &Path) -> Result<()> {
    packages::for_the_image()?;
    let programs = run::step("build Varve, static", || static_programs(run::root()))?;
    let tools = run::step("build what makes the image, with the test cluster's programs", cluster::tools)?;
    let archive = archive(&tools, &programs)?;
    let to = std::path::absolute(to)?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
    }
    fs::copy(archive, &to).with_context(|| format!("write {}", to.display()))?;
    println!("{}", to.display());
    Ok(())
}

/// Builds what is not built yet and pushes all to the cluster's registry.
pub(crate) fn build_and_push(access: &Access) -> Result<Images> {
    // The example's images wait for the network and the disk most of the time, ours for the processor.
    let (programs, example) = std::thread::scope(|scope| {
        let example = scope.spawn(example::images);
        let programs = run::step("build Varve, static", || static_programs(run::root()));
        (programs, example.join().expect("building the example's images does not panic"))
    });
    let (programs, example) = (programs?, example.context("build the example's images")?);
    run::step("push the images", || {
        Ok(Images {
            tool: programs.join("varve-e2e"),
            varve: access.push(&archive(&access.tools()?, &programs)?, "varve:dev")?,
            edges: access.push(&example.edges, "edges:1")?,
            montage: access.push(&example.montage, "montage:1")?,
        })
    })
}

/// Builds `varve` and `varve-shim` of this checkout with nothing linked at run time, and beside them `varve-e2e` and
/// `varve-simulation`, which take the same dependencies; gives back their folder.
///
/// All four in one call: cargo builds a dependency once for each set of features that a call asks for. That of the
/// simulation, tokio's paused time, costs the others one look at an atomic for each look at the clock.
pub(crate) fn static_programs(checkout: &Path) -> Result<PathBuf> {
    let flags = format!(r#"target.{TARGET}.rustflags=["-C","target-feature=+crt-static"]"#);
    let mut command = run::cargo(["build", "--config", &flags, "--profile", PROFILE, "--target", TARGET]);
    for package in ["varve", "varve-worker", "varve-e2e", "varve-simulation"] {
        command.args(["--package", package]);
    }
    for program in ["varve", "varve-shim", "varve-e2e", "varve-simulation"] {
        command.args(["--bin", program]);
    }
    let target = target_folder(checkout);
    command.current_dir(checkout).env("CARGO_TARGET_DIR", &target);
    run::run("build Varve", &mut command)?;
    Ok(target.join(TARGET).join(PROFILE))
}

/// Where cargo puts all that it builds of this checkout. Another checkout than ours has a folder of its own: cargo names
/// the crates of both alike, and would take those of one for the other's.
fn target_folder(checkout: &Path) -> PathBuf {
    let ours = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
    if checkout == run::root() { ours } else { ours.join("apart") }
}

/// The image: the two programs and the certificates that TLS is checked by. `tools` is the folder of the test cluster's
/// programs, one of which makes images of files.
fn archive(tools: &Path, programs: &Path) -> Result<PathBuf> {
    let archive = programs.join("varve.tar");
    let program = |name: &str| format!("{}=/{name}", programs.join(name).display());
    let mut command = run::command(tools.join("hk"), ["mkimage"]);
    command.arg(&archive).args([
        "varve:dev",
        "-user",
        "65532:65532",
        // glibc keeps an arena a thread: for a 2 GiB file through the keeper, 80 MiB at the peak instead of 255.
        "-env",
        "MALLOC_ARENA_MAX=2",
        "-entry",
        "/varve",
        "/etc/",
        "/etc/ssl/",
        "/etc/ssl/certs/",
    ]);
    command.args([program("varve"), program("varve-shim")]);
    command.arg("/etc/ssl/certs/ca-certificates.crt=/etc/ssl/certs/ca-certificates.crt");
    run::run("make Varve's image", &mut command)?;
    Ok(archive)
}
