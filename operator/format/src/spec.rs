//! The spec digest: one hash over all that decides a datum's result besides its inputs.
//!
//! Resources, scheduling, tries, time-outs and what Varve itself sets are no part of it. The struct's fields stand
//! in the order in which they are hashed, and the encoder takes it apart without `..`: a new field does not compile
//! until it is hashed.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{put_list, put_option, put_string};
use crate::hash::{Domain, Hash};

/// What a spec digest is taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecDigest {
    /// The image's config digest, with its algorithm (`sha256:…`).
    pub image_config_digest: String,
    /// The container's command; absent differs from empty.
    pub command: Option<Vec<String>>,
    /// The container's arguments; absent differs from empty.
    pub args: Option<Vec<String>>,
    /// The container's working directory.
    pub working_dir: Option<String>,
    /// Environment variables, as listed.
    pub env: Vec<(String, EnvSource)>,
    /// `envFrom`, as listed: prefix and source.
    pub env_from: Vec<(String, EnvFromSource)>,
    /// Mounted ConfigMaps, by mount path: key to the plain BLAKE3 of its content.
    pub config_maps: BTreeMap<String, BTreeMap<String, Hash>>,
    /// Mounted Secrets, by mount path: name and keys.
    pub secrets: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Exit codes that count as success.
    pub accept_exit_codes: BTreeSet<i32>,
    /// Inputs, by name: mount name and mode.
    pub inputs: BTreeMap<String, (String, String)>,
}

/// Where the value of an environment variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// Written in the spec.
    Literal(String),
    /// A key of a Secret: its name, never its content.
    Secret {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// A key of a ConfigMap: its content.
    ConfigMap(String),
    /// A field of the pod.
    Field(String),
}

/// Where `envFrom` takes its variables from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvFromSource {
    /// All keys of a Secret: its name, never its content.
    Secret(String),
    /// All of a ConfigMap's `data`; hashed as its RFC 8785 JSON.
    ConfigMap(BTreeMap<String, String>),
}

impl SpecDigest {
    /// The digest.
    pub fn digest(&self) -> Hash {
        Domain::Spec.hash(&self.encode())
    }

    /// The bytes that are hashed.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            image_config_digest,
            command,
            args,
            working_dir,
            env,
            env_from,
            config_maps,
            secrets,
            accept_exit_codes,
            inputs,
        } = self;
        let mut out = Vec::new();
        put_string(&mut out, image_config_digest);
        put_option(&mut out, command.as_deref(), put_strings);
        put_option(&mut out, args.as_deref(), put_strings);
        put_option(&mut out, working_dir.as_deref(), put_string);
        put_list(&mut out, env.iter(), |out, (name, source)| {
            put_string(out, name);
            source.encode(out);
        });
        put_list(&mut out, env_from.iter(), |out, (prefix, source)| {
            put_string(out, prefix);
            source.encode(out);
        });
        put_list(&mut out, config_maps.iter(), |out, (mount_path, keys)| {
            put_string(out, mount_path);
            put_list(out, keys.iter(), |out, (key, content)| {
                put_string(out, key);
                out.extend_from_slice(content.as_bytes());
            });
        });
        put_list(&mut out, secrets.iter(), |out, (mount_path, (name, keys))| {
            put_string(out, mount_path);
            put_string(out, name);
            put_list(out, keys.iter(), |out, key| put_string(out, key));
        });
        put_list(&mut out, accept_exit_codes.iter(), |out, code| out.extend_from_slice(&code.to_le_bytes()));
        put_list(&mut out, inputs.iter(), |out, (name, (mount, mode))| {
            put_string(out, name);
            put_string(out, mount);
            put_string(out, mode);
        });
        out
    }
}

fn put_strings(out: &mut Vec<u8>, strings: &[String]) {
    put_list(out, strings.iter(), |out, text| put_string(out, text));
}

impl EnvSource {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Literal(value) => put_tagged(out, 0, &[value]),
            Self::Secret { name, key } => put_tagged(out, 1, &[name, key]),
            Self::ConfigMap(content) => put_tagged(out, 2, &[content]),
            Self::Field(path) => put_tagged(out, 3, &[path]),
        }
    }
}

impl EnvFromSource {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Secret(name) => put_tagged(out, 1, &[name, ""]),
            Self::ConfigMap(data) => {
                let json = crate::commit::canonical_json(&serde_json::json!(data));
                put_tagged(out, 2, &[&json]);
            }
        }
    }
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, strings: &[&str]) {
    out.push(tag);
    for text in strings {
        put_string(out, text);
    }
}
