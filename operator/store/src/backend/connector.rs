//! The HTTP client of a bucket whose address a user named: [`guard`](super::guard)ed, whatever the options are.

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::{Certificate, Client};
use url::Url;

use super::guard::{check, find_refusal, guarded};
use super::{CONNECT_TIMEOUT, Patience, READ_TIMEOUT, REQUEST_TIMEOUT};

/// Makes guarded clients. Of `object_store`'s own options none matters here: those that a user may set are fields.
#[derive(Debug)]
pub(super) struct Guarded {
    /// Certificates to trust beside the system's.
    pub certificates: Vec<Certificate>,
    /// Whether `http://` is allowed.
    pub allows_http: bool,
    pub patience: Patience,
}

impl HttpConnector for Guarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder()
            .user_agent(concat!("varve/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(self.certificates.iter().cloned())
            .connect_timeout(CONNECT_TIMEOUT)
            .http1_only()
            .https_only(!self.allows_http);
        let client = match self.patience {
            Patience::Request => client.timeout(REQUEST_TIMEOUT),
            Patience::Silence => client.read_timeout(READ_TIMEOUT),
        };
        let client = guarded(client).build();
        let client = client.map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(GuardedClient { client }))
    }
}

#[derive(Debug)]
struct GuardedClient {
    client: Client,
}

#[async_trait::async_trait]
impl HttpService for GuardedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Not only the endpoint as given: an address may also come about by how a client puts names together.
        let url =
            Url::parse(&request.uri().to_string()).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        check(&url).map_err(|refused| HttpError::new(HttpErrorKind::Unknown, refused))?;
        self.client.call(request).await.map_err(|error| match find_refusal(&error) {
            // As a failure to connect it would be tried again.
            Some(refused) => HttpError::new(HttpErrorKind::Unknown, refused.clone()),
            None => error,
        })
    }
}
