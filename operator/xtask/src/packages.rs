//! What the machine must have beyond Rust: installed as root on Debian, and named exactly elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;

/// A Debian package, and what shows that it or its like is there.
#[derive(Clone, Copy)]
struct Package {
    name: &'static str,
    shown_by: ShownBy,
}

#[derive(Clone, Copy)]
enum ShownBy {
    Program(&'static str),
    File(&'static str),
    /// A Python module.
    Module(&'static str),
}

use ShownBy::{File, Module, Program};

const CLUSTER: &[Package] = &[
    Package { name: "runc", shown_by: File("/usr/sbin/runc") },
    Package { name: "containernetworking-plugins", shown_by: File("/usr/lib/cni/ptp") },
    Package { name: "nftables", shown_by: Program("nft") },
    Package { name: "iproute2", shown_by: Program("ip") },
    Package { name: "busybox-static", shown_by: File("/bin/busybox") },
    Package { name: "curl", shown_by: Program("curl") },
    Package { name: "bc", shown_by: Program("bc") },
    Package { name: "procps", shown_by: Program("pgrep") },
    CERTIFICATES[0],
];

const CERTIFICATES: &[Package] =
    &[Package { name: "ca-certificates", shown_by: File("/etc/ssl/certs/ca-certificates.crt") }];

const IMAGES: &[Package] = &[
    Package { name: "buildah", shown_by: Program("buildah") },
    Package { name: "debootstrap", shown_by: Program("debootstrap") },
    Package { name: "python3-pip", shown_by: Module("pip") },
];

const NODE: &[Package] =
    &[Package { name: "nodejs", shown_by: Program("node") }, Package { name: "npm", shown_by: Program("npm") }];

/// What the test cluster needs.
pub(crate) fn for_the_cluster() -> Result<()> {
    if !is_root() {
        bail!("the test cluster makes namespaces and mounts: it must be run as root");
    }
    look_for_go()?;
    install(CLUSTER)
}

/// What making Varve's own image needs.
pub(crate) fn for_the_image() -> Result<()> {
    look_for_go()?;
    install(CERTIFICATES)
}

/// Debian's own Go is too old, and a package manager's second one beside it would be a surprise: this is said, not done.
fn look_for_go() -> Result<()> {
    if !Program("go").is_there() {
        bail!(
            "the test cluster and the program that makes images are built from Go modules: install Go 1.26.6 or newer \
             (https://go.dev/dl) and put it on the PATH; any Go from 1.21 on will do too if GOTOOLCHAIN=auto is set, \
             since it then fetches that one itself"
        );
    }
    Ok(())
}

/// What building the example's images needs.
pub(crate) fn for_the_images() -> Result<()> {
    install(IMAGES)
}

/// What the test suite needs besides: the independent reader of the format is Python, and stores behind a private
/// authority need one.
pub(crate) fn for_the_tests() -> Result<()> {
    install(&[IMAGES[2], Package { name: "openssl", shown_by: Program("openssl") }])
}

/// What fetching and running azurite needs.
pub(crate) fn for_azurite() -> Result<()> {
    install(NODE)
}

/// A file out of a Debian package that is not installed, since the machine may have another of its kind. None where
/// there is no apt.
pub(crate) fn unpacked(package: &str, file: &str) -> Result<Option<PathBuf>> {
    if !Program("apt-get").is_there() {
        return Ok(None);
    }
    let kept = run::cache().join("debian").join(package);
    if kept.join(file).exists() {
        return Ok(Some(kept.join(file)));
    }
    let cache = run::cache().join("debian");
    fs::create_dir_all(&cache).with_context(|| format!("make folder {}", cache.display()))?;
    let folder = tempfile::tempdir_in(&cache)?;
    let apt = |arguments: &[&str]| {
        let mut command = run::command("apt-get", arguments);
        run::output("fetch a package", command.current_dir(folder.path()))
    };
    if is_root() {
        apt(&["update"])?;
    }
    apt(&["download", package])?;
    let script = "dpkg-deb -x ./*.deb unpacked";
    run::output("unpack a package", run::command("sh", ["-c", script]).current_dir(folder.path()))?;
    match fs::rename(folder.path().join("unpacked"), &kept) {
        Err(error) if !kept.join(file).exists() => Err(error).context("keep an unpacked package"),
        _ => Ok(Some(kept.join(file))),
    }
}

fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !package.shown_by.is_there()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !Program("apt-get").is_there() {
        bail!("missing on this machine; install what Debian calls: {}", missing.join(" "));
    }
    println!("installing {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = run::command("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run::output("install packages", &mut command)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat()).map(drop)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl ShownBy {
    fn is_there(&self) -> bool {
        match self {
            File(path) => Path::new(path).exists(),
            Program(name) => ["/usr/sbin", "/sbin"]
                .iter()
                .map(Path::new)
                .map(Path::to_path_buf)
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
                .any(|folder| folder.join(name).exists()),
            Module(name) => {
                run::output("look for a Python module", &mut run::command("python3", ["-c", &format!("import {name}")]))
                    .is_ok()
            }
        }
    }
}
