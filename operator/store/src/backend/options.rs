//! The options that a bucket's Secret may hold, and whose credentials its requests carry.
//!
//! Whoever may write a Secret in one namespace is not who runs this program. So a Secret says what it knows itself
//! (its own keys, its bucket's place and ways) by a list of what is allowed; nothing in it can make us read a file,
//! ask a token service with what is not its own, or lend out what this machine or pod is trusted with.

use std::str::FromStr;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3, AwsCredential};
use object_store::azure::{AzureConfigKey as Azure, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey as Google};

use super::{ADOPT, Allowed, CA_CERTIFICATES, URL, wrong};
use crate::error::{Error, Result};

/// What the Secret of an `s3://` store may hold, in the spelling that messages use; `object_store` knows others.
const S3_OPTIONS: &[&str] = &[
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region",
    "aws_default_region",
    "aws_endpoint",
    "aws_endpoint_url_s3",
    "aws_virtual_hosted_style_request",
    "aws_s3_express",
    "aws_unsigned_payload",
    "aws_checksum_algorithm",
    "aws_conditional_put",
    "aws_disable_tagging",
    "aws_disable_bulk_delete",
    "aws_request_payer",
    "aws_skip_signature",
    "aws_server_side_encryption",
    "aws_sse_kms_key_id",
    "aws_sse_bucket_key_enabled",
    "aws_sse_customer_key_base64",
    "allow_http",
];
/// What the Secret of an `az://` store may hold.
const AZURE_OPTIONS: &[&str] = &[
    "azure_storage_account_name",
    "azure_storage_account_key",
    "azure_storage_sas_key",
    "azure_storage_token",
    "azure_storage_client_id",
    "azure_storage_client_secret",
    "azure_storage_tenant_id",
    "azure_storage_authority_host",
    "azure_storage_endpoint",
    "azure_use_fabric_endpoint",
    "azure_disable_tagging",
    "azure_storage_encryption_key",
    "azure_skip_signature",
    "allow_http",
];
/// What the Secret of a `gs://` store may hold.
const GOOGLE_OPTIONS: &[&str] =
    &["google_service_account_key", "google_bearer_token", "google_base_url", "google_skip_signature", "allow_http"];

/// Whose credentials the requests to a bucket carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Those that the Secret holds.
    Own,
    /// None: the bucket is open to everybody.
    None,
    /// Those of the machine or pod that we run on, which whoever installed us lends.
    Machine,
}

/// A client being set up.
#[derive(Debug)]
pub(super) struct Chosen<B> {
    /// With all options but those of HTTP.
    pub builder: B,
    pub credentials: Credentials,
    pub allows_http: bool,
}

/// Options as written, in pairs.
pub(super) type Options<'a> = [(&'a str, &'a str)];

/// Options of one kind of store, each known and allowed.
struct Given<'a, K> {
    options: Vec<(K, &'a str)>,
    allows_http: bool,
}

impl<'a, K: FromStr + AsRef<str> + PartialEq + Copy> Given<'a, K> {
    fn parse(scheme: &str, written: &Options<'a>, allowed: &[&str], skip_signature: K) -> Result<Self> {
        let mut given = Self { options: Vec::new(), allows_http: false };
        for (name, value) in written {
            let key = name.to_ascii_lowercase().parse::<K>().ok().filter(|key| allowed.contains(&key.as_ref()));
            let key = key.ok_or_else(|| refused(name, scheme, allowed))?;
            if key.as_ref() == ClientConfigKey::AllowHttp.as_ref() {
                given.allows_http = flag(name, value)?;
            } else {
                if key == skip_signature {
                    flag(name, value)?;
                }
                given.options.push((key, value));
            }
        }
        Ok(given)
    }

    fn find(&self, key: K) -> Option<&'a str> {
        self.options.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    fn has(&self, key: K) -> bool {
        self.find(key).is_some()
    }

    fn is_set(&self, key: K) -> bool {
        self.find(key).is_some_and(|value| flag("", value).unwrap_or_default())
    }

    /// Whose credentials are used, where the Secret `has_own` or not. Those of the machine go to the provider's own
    /// addresses alone: never where one of the options `addresses` leads.
    fn credentials(&self, has_own: bool, skip_signature: K, allowed: Allowed, addresses: &[K]) -> Result<Credentials> {
        if self.is_set(skip_signature) {
            return Ok(Credentials::None);
        }
        if has_own {
            return Ok(Credentials::Own);
        }
        if !allowed.machine_credentials {
            return Ok(Credentials::None);
        }
        match addresses.iter().find(|key| self.has(**key)) {
            None => Ok(Credentials::Machine),
            Some(key) => Err(wrong(format!(
                "key `{}` needs credentials beside it, or `{}: \"true\"`: the credentials of the machine go to the \
                 provider's own addresses alone",
                key.as_ref(),
                skip_signature.as_ref()
            ))),
        }
    }

    /// Refuses a value that would become part of a host's name and could make it another.
    fn check_label(&self, key: K) -> Result<()> {
        let is_label = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match self.find(key).filter(|value| !is_label(value)) {
            None => Ok(()),
            Some(_) => Err(wrong(format!("key `{}` must be of letters, digits and `-`", key.as_ref()))),
        }
    }
}

/// A client of S3 with these options.
pub(super) fn s3(scheme: &str, options: &Options<'_>, allowed: Allowed) -> Result<Chosen<AmazonS3Builder>> {
    let given = Given::parse(scheme, options, S3_OPTIONS, S3::SkipSignature)?;
    given.check_label(S3::Region)?;
    given.check_label(S3::DefaultRegion)?;
    let has_own = given.has(S3::AccessKeyId) || given.has(S3::SecretAccessKey);
    let credentials = given.credentials(has_own, S3::SkipSignature, allowed, &[S3::Endpoint, S3::S3Endpoint])?;
    let mut builder = match credentials {
        Credentials::Machine => AmazonS3Builder::from_env(),
        Credentials::Own | Credentials::None => AmazonS3Builder::new(),
    };
    for (key, value) in &given.options {
        builder = builder.with_config(*key, *value);
    }
    if credentials == Credentials::None {
        // The provider is never asked. Without one the client would set up the machine's.
        let nobody = AwsCredential { key_id: String::new(), secret_key: String::new(), token: None };
        builder = builder.with_skip_signature(true).with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    Ok(Chosen { builder, credentials, allows_http: given.allows_http })
}

/// A client of Azure's blob storage with these options.
pub(super) fn azure(scheme: &str, options: &Options<'_>, allowed: Allowed) -> Result<Chosen<MicrosoftAzureBuilder>> {
    let given = Given::parse(scheme, options, AZURE_OPTIONS, Azure::SkipSignature)?;
    given.check_label(Azure::AccountName)?;
    let application = [Azure::ClientId, Azure::ClientSecret, Azure::AuthorityId];
    let of_application = application.iter().filter(|key| given.has(**key)).count();
    let mut has_own = [Azure::Token, Azure::AccessKey, Azure::SasKey].iter().any(|key| given.has(*key));
    if !has_own && (1..application.len()).contains(&of_application) {
        // By the id alone the client would ask the machine for that identity.
        let names = application.map(|key| format!("`{}`", key.as_ref())).join(", ");
        return Err(wrong(format!("keys {names} must be given together")));
    }
    has_own |= of_application == application.len();
    let addresses = [Azure::Endpoint, Azure::AuthorityHost];
    let credentials = given.credentials(has_own, Azure::SkipSignature, allowed, &addresses)?;
    let mut builder = match credentials {
        Credentials::Machine => MicrosoftAzureBuilder::from_env(),
        Credentials::Own | Credentials::None => MicrosoftAzureBuilder::new(),
    };
    for (key, value) in &given.options {
        builder = builder.with_config(*key, *value);
    }
    if credentials == Credentials::None {
        let nobody = AzureCredential::BearerToken(String::new());
        builder = builder.with_skip_signature(true).with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    Ok(Chosen { builder, credentials, allows_http: given.allows_http })
}

/// A client of Google's cloud storage with these options.
pub(super) fn google(
    scheme: &str,
    options: &Options<'_>,
    allowed: Allowed,
) -> Result<Chosen<GoogleCloudStorageBuilder>> {
    let given = Given::parse(scheme, options, GOOGLE_OPTIONS, Google::SkipSignature)?;
    let has_own = given.has(Google::ServiceAccountKey) || given.has(Google::BearerToken);
    let credentials = given.credentials(has_own, Google::SkipSignature, allowed, &[Google::BaseUrl])?;
    let mut builder = match credentials {
        Credentials::Machine => GoogleCloudStorageBuilder::from_env(),
        Credentials::Own | Credentials::None => GoogleCloudStorageBuilder::new(),
    };
    for (key, value) in &given.options {
        builder = builder.with_config(*key, *value);
    }
    if credentials == Credentials::None {
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_skip_signature(true).with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    Ok(Chosen { builder, credentials, allows_http: given.allows_http })
}

/// Refuses the first of `options`, for an address that knows none.
pub(super) fn none(scheme: &str, options: &Options<'_>) -> Result<()> {
    options.first().map_or(Ok(()), |(name, _)| Err(refused(name, scheme, &[])))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" | "y" => Ok(true),
        "false" | "0" | "off" | "no" | "n" => Ok(false),
        _ => Err(wrong(format!("key `{name}` must be `true` or `false`"))),
    }
}

fn refused(name: &str, scheme: &str, allowed: &[&str]) -> Error {
    let allowed = [URL, CA_CERTIFICATES, ADOPT].iter().chain(allowed).map(|key| format!("`{key}`"));
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    wrong(format!("key `{name}` may not stand in the Secret of a `{scheme}://` store: allowed are {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENT: Allowed = Allowed { local_stores: false, machine_credentials: true };

    /// Whose credentials are chosen with these options, or why they are refused.
    fn chosen(scheme: &str, options: &Options<'_>, allowed: Allowed) -> std::result::Result<Credentials, String> {
        let credentials = match scheme {
            "s3" => s3(scheme, options, allowed).map(|chosen| chosen.credentials),
            "az" => azure(scheme, options, allowed).map(|chosen| chosen.credentials),
            _ => google(scheme, options, allowed).map(|chosen| chosen.credentials),
        };
        credentials.map_err(|error| error.to_string())
    }

    #[test]
    fn options_that_read_files_or_ask_for_others_credentials_are_refused_by_name() {
        let hostile = [
            ("s3", "aws_web_identity_token_file"),
            ("s3", "web_identity_token_file"),
            ("s3", "role_arn"),
            ("s3", "aws_role_session_name"),
            ("s3", "endpoint_url_sts"),
            ("s3", "AWS_ENDPOINT_URL_STS"),
            ("s3", "aws_container_credentials_full_uri"),
            ("s3", "aws_container_credentials_relative_uri"),
            ("s3", "container_authorization_token_file"),
            ("s3", "aws_metadata_endpoint"),
            ("s3", "imdsv1_fallback"),
            ("s3", "bucket"),
            ("az", "federated_token_file"),
            ("az", "azure_federated_token_file"),
            ("az", "msi_endpoint"),
            ("az", "identity_endpoint"),
            ("az", "object_id"),
            ("az", "msi_resource_id"),
            ("az", "use_azure_cli"),
            ("az", "use_emulator"),
            ("az", "credential_type"),
            ("az", "fabric_token_service_url"),
            ("az", "fabric_session_token"),
            ("az", "container_name"),
            ("gs", "google_service_account"),
            ("gs", "service_account_path"),
            ("gs", "google_application_credentials"),
            ("gs", "application_credentials"),
        ];
        let of_http = ["proxy_url", "proxy_ca_certificate", "allow_invalid_certificates", "timeout", "user_agent"];
        let of_http = of_http.iter().flat_map(|key| ["s3", "az", "gs"].map(|scheme| (scheme, *key)));
        for (scheme, key) in hostile.into_iter().chain(of_http) {
            for allowed in [Allowed::default(), LENT] {
                let why = chosen(scheme, &[(key, "true")], allowed).expect_err(key);
                assert!(why.contains(&format!("key `{key}` may not stand in")), "{why}");
                assert!(
                    why.contains("allowed are `url`, `ca.crt`, `adopt`, ") && why.contains("`allow_http`"),
                    "{why}"
                );
            }
        }
    }

    #[test]
    fn every_allowed_option_is_one_of_the_client_s() {
        for name in S3_OPTIONS {
            assert_eq!(name.parse::<S3>().expect(name).as_ref(), *name);
        }
        for name in AZURE_OPTIONS {
            assert_eq!(name.parse::<Azure>().expect(name).as_ref(), *name);
        }
        for name in GOOGLE_OPTIONS {
            assert_eq!(name.parse::<Google>().expect(name).as_ref(), *name);
        }
    }

    #[test]
    fn credentials_in_the_secret_are_used_in_every_spelling() {
        let own: [(&str, &Options<'_>); 7] = [
            ("s3", &[("access_key_id", "a"), ("secret_access_key", "b"), ("token", "c"), ("endpoint", "https://s3")]),
            ("s3", &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("aws_allow_http", "true")]),
            ("az", &[("account_name", "a"), ("account_key", "Yg==")]),
            ("az", &[("account_name", "a"), ("azure_storage_sas_token", "sig=b")]),
            ("az", &[("client_id", "a"), ("client_secret", "b"), ("tenant_id", "c"), ("authority_host", "https://d")]),
            ("gs", &[("service_account_key", "{}"), ("base_url", "https://gs")]),
            ("gs", &[("google_bearer_token", "a")]),
        ];
        for (scheme, options) in own {
            for allowed in [Allowed::default(), LENT] {
                assert_eq!(chosen(scheme, options, allowed), Ok(Credentials::Own), "{options:?}");
            }
        }
    }

    #[test]
    fn without_credentials_nobody_s_are_used_unless_the_machine_s_are_lent() {
        for (scheme, skip, endpoint) in [
            ("s3", "aws_skip_signature", "aws_endpoint"),
            ("az", "azure_skip_signature", "azure_storage_endpoint"),
            ("gs", "google_skip_signature", "google_base_url"),
        ] {
            assert_eq!(chosen(scheme, &[], Allowed::default()), Ok(Credentials::None));
            assert_eq!(chosen(scheme, &[(skip, "false")], Allowed::default()), Ok(Credentials::None));
            assert_eq!(chosen(scheme, &[], LENT), Ok(Credentials::Machine));
            assert_eq!(chosen(scheme, &[(skip, "true")], LENT), Ok(Credentials::None));
            // What is lent may not be sent to an address of the Secret's choice.
            let why = chosen(scheme, &[(endpoint, "https://elsewhere")], LENT).expect_err("an endpoint");
            assert!(why.contains(&format!("key `{endpoint}` needs credentials")) && why.contains(skip), "{why}");
        }
        let why = chosen("az", &[("client_id", "a")], LENT).expect_err("an identity of the machine's");
        assert!(why.contains("must be given together"), "{why}");
    }

    #[test]
    fn names_that_become_part_of_a_host_hold_nothing_else() {
        for (scheme, key, value) in
            [("s3", "aws_region", "evil.example/#"), ("az", "azure_storage_account_name", "a/?")]
        {
            let why = chosen(scheme, &[(key, value)], LENT).expect_err(value);
            assert!(why.contains(&format!("key `{key}` must be of letters")), "{why}");
        }
        let why = chosen("s3", &[("aws_skip_signature", "perhaps")], LENT).expect_err("no flag");
        assert!(why.contains("`aws_skip_signature` must be `true` or `false`"), "{why}");
    }
}
