//! The example's own things, `docs/examples/edges`: its two images and the photographs.
//!
//! Images are built by buildah from the Containerfiles there, on a base that debootstrap makes, and kept in the
//! user's cache as OCI layouts under a hash of what went into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, run};

/// The package with the photographs; only its data is used.
const PHOTOGRAPHS: &str = "scikit-image==0.25.2";
/// What the example's manifests say where everybody puts a registry of their own.
pub(crate) const REGISTRY: &str = "registry.example";
/// Counts up when this file builds images otherwise.
const RECIPE: &str = "1";

/// Folders of OCI layouts.
pub(crate) struct ExampleImages {
    pub(crate) edges: PathBuf,
    pub(crate) montage: PathBuf,
}

/// The example's folder.
pub(crate) fn folder() -> PathBuf {
    run::root().join("docs/examples/edges")
}

/// The example's images, built if they are not in the cache.
pub(crate) fn images() -> Result<ExampleImages> {
    let debian = Debian::of_this_machine()?;
    let layout = |name: &str| Ok::<_, anyhow::Error>(run::cache().join(format!("images/{name}-{}", debian.key(name)?)));
    let images = ExampleImages { edges: layout("edges")?, montage: layout("montage")? };
    let missing: Vec<_> = [("edges", &images.edges), ("montage", &images.montage)]
        .into_iter()
        .filter(|(_, layout)| !layout.exists())
        .collect();
    if missing.is_empty() {
        return Ok(images);
    }
    packages::for_the_images()?;
    fs::create_dir_all(run::cache().join("images"))?;
    let workshop = Workshop(tempfile::tempdir_in(run::cache().join("images"))?);
    workshop.make_base(&debian)?;
    for (name, layout) in missing {
        println!("building the example's image {name}");
        workshop.make_image(name, layout).with_context(|| format!("build image {name}"))?;
    }
    Ok(images)
}

/// The Debian that images are made from: the machine's own release.
struct Debian {
    release: String,
}

impl Debian {
    fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
        let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let release =
            release.context("the example's images are made from Debian packages: this needs Debian")?.to_owned();
        Ok(Self { release })
    }

    /// Where the machine itself has its packages from.
    fn mirror(&self) -> Result<String> {
        let codename = format!("Codename: {}", self.release);
        let filters = ["indextargets", "--format", "$(SITE)", "Created-By: Packages", &codename, "Component: main"];
        let ask = || run::output("ask apt for its mirror", &mut run::command("apt-get", filters));
        let mut mirrors = ask()?;
        if mirrors.is_empty() {
            run::output("refresh apt's lists", &mut run::command("apt-get", ["update"]))?;
            mirrors = ask()?;
        }
        Ok(mirrors.lines().next().context("apt names no mirror of this machine's release")?.to_owned())
    }

    /// A hash of what decides an image: the release and the files of its folder.
    fn key(&self, name: &str) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(RECIPE.as_bytes()).update(self.release.as_bytes());
        let mut files: Vec<_> = fs::read_dir(folder().join(name))?.collect::<std::io::Result<_>>()?;
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files {
            hasher.update(file.file_name().as_encoded_bytes()).update(&fs::read(file.path())?);
        }
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }
}

const BASE: &str = "localhost/debian:base";

/// Where images are made: buildah's storage, gone when they are done.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn buildah<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = run::command("buildah", ["--root"]);
        command.arg(self.0.path().join("storage")).arg("--runroot").arg(self.0.path().join("run"));
        command.args(arguments).env("STORAGE_DRIVER", "vfs").env("BUILDAH_ISOLATION", "chroot");
        command
    }

    /// Debian's smallest system, as an image.
    fn make_base(&self, debian: &Debian) -> Result<()> {
        println!("making a Debian to build the example's images on");
        let system = self.0.path().join("debian");
        let system = system.to_str().context("the cache's path is not UTF-8")?;
        let strap = ["--variant=minbase", &debian.release, system, &debian.mirror()?];
        run::output("make a Debian", &mut run::command("debootstrap", strap))?;
        let tar = self.0.path().join("debian.tar");
        let tar = tar.to_str().context("the cache's path is not UTF-8")?;
        let left_out =
            ["--exclude=./dev/*", "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"];
        run::output("pack the Debian", run::command("tar", ["-C", system, "-cf", tar]).args(left_out).arg("."))?;
        let container = run::output("begin the base image", &mut self.buildah(["from", "scratch"]))?;
        let container = container.trim();
        run::output("fill the base image", &mut self.buildah(["add", "-q", container, tar, "/"]))?;
        run::output("set the base image's command", &mut self.buildah(["config", "--cmd", "bash", container]))?;
        run::output("commit the base image", &mut self.buildah(["commit", "-q", "--timestamp", "0", container, BASE]))
            .map(drop)
    }

    /// Builds the Containerfile in the example's folder `name`, and keeps the result as an OCI layout.
    fn make_image(&self, name: &str, layout: &Path) -> Result<()> {
        let context = self.0.path().join(name);
        fs::create_dir(&context)?;
        for file in fs::read_dir(folder().join(name))? {
            let file = file?;
            fs::copy(file.path(), context.join(file.file_name()))?;
        }
        if context.join("requirements.txt").exists() {
            install_python_packages(&context, &python_version()?)?;
        }
        let base = format!("BASE={BASE}");
        let mut build =
            self.buildah(["bud", "-q", "--pull-never", "--timestamp", "0", "--build-arg", &base, "-t", name]);
        run::output("build", build.arg(&context))?;
        let fresh = self.0.path().join(format!("{name}-layout"));
        run::output("keep the image", self.buildah(["push", "-q", name]).arg(format!("oci:{}", fresh.display())))?;
        fs::rename(&fresh, layout).with_context(|| format!("move the image to {}", layout.display()))
    }
}

/// The version of this Debian's Python, such as `3.11`, for which packages are chosen.
fn python_version() -> Result<String> {
    let mut command = run::command("apt-cache", ["show", "--no-all-versions", "python3-minimal"]);
    let shown = run::output("ask apt for Python's version", &mut command)?;
    let version = shown.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default();
    match version.split('.').collect::<Vec<_>>()[..] {
        [major, minor, ..] => Ok(format!("{major}.{minor}")),
        _ => bail!("apt knows no package python3-minimal: run apt-get update"),
    }
}

/// Puts the packages that `requirements.txt` names into `packages`, for the image's Python and not this machine's.
fn install_python_packages(context: &Path, python: &str) -> Result<()> {
    let mut command =
        run::command("python3", ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--python-version", python]);
    for platform in ["manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64"]
    {
        command.args(["--platform", platform]);
    }
    command.arg("--target").arg(context.join("packages")).arg("-r").arg(context.join("requirements.txt"));
    run::output("install Python packages", &mut command).map(drop)
}

/// The photographs as (file name, path).
pub(crate) fn photographs() -> Result<Vec<(String, PathBuf)>> {
    let photographs = photographs_folder()?;
    let names = fs::read_to_string(folder().join("photographs.txt")).context("read the list of photographs")?;
    Ok(names.lines().map(|name| (name.to_owned(), photographs.join(name))).collect())
}

/// The folder with the photographs, downloaded if it is not in the cache.
pub(crate) fn photographs_folder() -> Result<PathBuf> {
    let cached = run::cache().join("photographs").join(PHOTOGRAPHS.replace("==", "-"));
    if !cached.exists() {
        packages::for_the_images()?;
        fs::create_dir_all(run::cache().join("photographs"))?;
        let scratch = tempfile::tempdir_in(run::cache().join("photographs"))?;
        let download =
            ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.12"];
        let mut command = run::command("python3", download);
        command.args(["--platform", "manylinux2014_x86_64", PHOTOGRAPHS, "--dest"]).arg(scratch.path());
        run::output("download the photographs", &mut command)?;
        let package = fs::read_dir(scratch.path())?.next().context("pip downloaded nothing")??.path();
        let mut command = run::command("python3", ["-m", "zipfile", "-e"]);
        run::output("unpack the photographs", command.arg(package).arg(scratch.path().join("package")))?;
        fs::rename(scratch.path().join("package/skimage/data"), &cached)?;
    }
    Ok(cached)
}
