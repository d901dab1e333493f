//! Azure's blob storage on this machine: azurite, fetched by npm into the user's cache, for as long as a step needs it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::{packages, run};

const ACCOUNT: &str = "varve";
/// Any would do: the server holds nothing but what a test writes, and is gone with it.
const KEY: &str = "dmFydmU=";
/// The one container.
const CONTAINER: &str = "varve";
/// An address in it.
pub(crate) const URL: &str = "az://varve/conformance";

/// A running server; it ends with this.
pub(crate) struct Azurite {
    server: Child,
    endpoint: String,
}

impl Azurite {
    /// Starts it on a free port of loopback, all in memory, and makes its container.
    pub(crate) fn start() -> Result<Self> {
        let folder = fetched()?;
        // Bound and dropped: nobody else has it now.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let program = "node_modules/azurite/dist/src/blob/main.js";
        let mut server = run::command("node", [program, "--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        server.args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]);
        server.current_dir(&folder).env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}")).stdout(Stdio::null());
        let server = server.spawn().context("start azurite")?;
        let azurite = Self { server, endpoint: format!("http://127.0.0.1:{port}/{ACCOUNT}") };
        let script = run::root().join("e2e/azurite/container.mjs");
        let arguments = [script.as_os_str(), azurite.endpoint.as_ref(), KEY.as_ref(), CONTAINER.as_ref()];
        run::output("make a container in azurite", &mut run::command("node", arguments))?;
        Ok(azurite)
    }

    /// The settings with which it is reached, named as `object_store` names them.
    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        let settings = [
            ("azure_storage_endpoint", self.endpoint.as_str()),
            ("azure_storage_account_name", ACCOUNT),
            ("azure_storage_account_key", KEY),
            ("allow_http", "true"),
        ];
        settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let ended = self.server.kill().and_then(|()| self.server.wait());
        if let Err(error) = ended {
            eprintln!("end azurite: {error}");
        }
    }
}

/// The folder with azurite and all that it needs, in the versions that the lock file names.
fn fetched() -> Result<PathBuf> {
    packages::for_azurite()?;
    let wanted = run::root().join("e2e/azurite");
    let lock = fs::read(wanted.join("package-lock.json")).context("read azurite's lock file")?;
    let cache = run::cache().join("azurite");
    let kept = cache.join(&blake3::hash(&lock).to_hex()[..16]);
    if kept.exists() {
        return Ok(kept);
    }
    println!("fetching azurite");
    fs::create_dir_all(&cache).with_context(|| format!("make folder {}", cache.display()))?;
    let fresh = tempfile::tempdir_in(&cache)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(wanted.join(file), fresh.path().join(file)).with_context(|| format!("copy {file}"))?;
    }
    // No script of a package is run: azurite is JavaScript alone.
    let arguments = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"];
    run::output("fetch azurite", run::command("npm", arguments).current_dir(fresh.path()))?;
    keep(fresh.path(), &kept)?;
    Ok(kept)
}

/// Moves a finished folder to where it is kept; another run may have been quicker.
fn keep(fresh: &Path, kept: &Path) -> Result<()> {
    match fs::rename(fresh, kept) {
        Err(error) if !kept.exists() => Err(error).context("keep azurite"),
        _ => Ok(()),
    }
}
