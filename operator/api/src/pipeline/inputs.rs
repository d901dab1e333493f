//! What a Pipeline reads: a flat list, in which an entry may combine others by their names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// An entry of `inputs`: exactly one of `glob`, `cross` and `union` is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "(has(self.glob) ? 1 : 0) + (has(self.cross) ? 1 : 0) + (has(self.union) ? 1 : 0) == 1",
        "each entry of inputs must have exactly one of glob, cross and union",
    ),
    (
        "has(self.glob) || !(has(self.repo) || has(self.branch) || has(self.as) || has(self.optional))",
        "repo, branch, as and optional belong to an input with a glob, not to a cross or union",
    ),
])))]
pub struct Input {
    /// The input's name: the folder under `/pfs` where its files are seen, unless `as` says otherwise.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::input_name("name")))]
    pub name: String,

    /// The Repo to read; without it, the one of the input's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), extend("x-kubernetes-validations" = schema::object_name("repo")))]
    pub repo: Option<String>,

    /// The branch to read; without it, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::branch_name("branch")))]
    pub branch: Option<String>,

    /// Which files and directories make a datum: each match is one. `/` is the whole Repo at once, `/*` each file
    /// and directory at its top, `/*/` each directory at its top, `/**` each file at any depth. `*`, `?`, `[a-z]`,
    /// `[!a-z]` and `{a,b}` work too, and a backslash takes the next character as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = schema::rules(&[(
        "self.startsWith('/')",
        "glob must begin with /",
    )])))]
    pub glob: Option<String>,

    /// The folder under `/pfs` where its files are seen; without it, the input's name.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::input_name("as")))]
    pub mount_as: Option<String>,

    /// In a cross: where this input matches nothing, the others go on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,

    /// Names of entries: every combination of one datum from each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub cross: Option<Vec<String>>,

    /// Names of entries: all datums of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub union: Option<Vec<String>>,
}

impl Input {
    /// The Repo that a leaf reads.
    pub fn repo(&self) -> &str {
        self.repo.as_deref().unwrap_or(&self.name)
    }
    /// The branch that a leaf reads.
    pub fn branch(&self) -> &str {
        self.branch.as_deref().unwrap_or(crate::repo::DEFAULT_BRANCH)
    }
    /// The folder under `/pfs` where a leaf's files are seen.
    pub fn mount(&self) -> &str {
        self.mount_as.as_deref().unwrap_or(&self.name)
    }
}
