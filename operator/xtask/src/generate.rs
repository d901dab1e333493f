//! `generate [--check]`: the files of `crds/` and `docs/reference/`, from the types of varve-api.

use anyhow::Result;

use crate::run;

pub(crate) fn generate(check: bool) -> Result<()> {
    // Without `--package`, so that cargo uses what it built for the whole workspace already: see `test::conformance`.
    let mut command = run::cargo(["run", "--quiet", "--bin", "varve-generate", "--", "."]);
    run::run("generate", command.args(check.then_some("--check")))
}
