//! The cluster through the eyes of somebody who may do less than the tests.

use anyhow::{Context as _, Result};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::Space;

impl Space {
    /// The same namespace as the user `name` sees it, who may do what these rules of a Role say and nothing else.
    pub async fn as_user(&self, name: &str, rules: Value) -> Result<Self> {
        let user = format!("{}:{name}", self.name);
        let api_version = "rbac.authorization.k8s.io/v1";
        let metadata = json!({ "name": name });
        let role = json!({ "apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules });
        let binding = json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        });
        for object in [role, binding] {
            self.apply(&object).await.with_context(|| format!("give user {name} rights"))?;
        }
        let mut config = Config::infer().await.context("read KUBECONFIG")?;
        config.auth_info.impersonate = Some(user);
        let client = Client::try_from(config).with_context(|| format!("connect as {name}"))?;
        Ok(Self { name: self.name.clone(), client, is_lasting: true })
    }
}
