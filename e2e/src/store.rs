//! The cluster's bucket, and the Secrets that name it.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{Space, env};

/// The keys of a Secret for this URL of the cluster's bucket.
pub fn config(url: &str) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("url".into(), url.into()),
        ("aws_endpoint".into(), env("VARVE_S3_ENDPOINT")?),
        ("aws_allow_http".into(), "true".into()),
        ("aws_region".into(), env("AWS_REGION")?),
        ("aws_access_key_id".into(), env("AWS_ACCESS_KEY_ID")?),
        ("aws_secret_access_key".into(), env("AWS_SECRET_ACCESS_KEY")?),
    ]))
}

/// The store of a namespace of this name.
pub fn url(namespace: &str) -> Result<String> {
    Ok(format!("s3://{}/{namespace}", env("VARVE_S3_BUCKET")?))
}

impl Space {
    /// Gives this namespace a store of its own, under the name that Repos look for.
    pub async fn with_store(&self) -> Result<()> {
        self.store_secret(&config(&url(&self.name)?)?).await
    }

    /// Applies the Secret that Repos look for.
    pub async fn store_secret(&self, config: &BTreeMap<String, String>) -> Result<()> {
        self.secret(varve_api::repo::DEFAULT_STORE, &[(varve_api::labels::STORE, "true")], config).await
    }
}
