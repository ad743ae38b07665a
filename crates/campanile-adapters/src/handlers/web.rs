//! HTTP for what the settings name themselves (an identity provider): bounded in time and size, without redirects, proxies
//! or retries. Its addresses are the operator's own word, and so may be private; the rules for tasks' targets are not for
//! them.

use std::time::Duration;

use async_trait::async_trait;
use campanile_core::system::within;
use campanile_login::oidc::{ANSWER_BYTES_MAX, Fetch, Fetched, Form};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderValue};

use super::http::{BuildError, chain, client, date_ms};
use super::ssrf::Guard;

/// How long finding and connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long one answer may take, whole.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Web(reqwest::Client);

impl Web {
    /// A client of its own, with the system's roots as they are now.
    ///
    /// # Errors
    /// When it can't be built; nothing was contacted.
    pub fn new() -> Result<Self, BuildError> {
        let guard = Guard {
            allow_private_targets: true,
        };
        client(guard, CONNECT_LIMIT).map(Self)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Fetched, String> {
        let json = HeaderValue::from_static("application/json");
        let whole = async {
            let mut response = request.header(ACCEPT, json).send().await.map_err(chain)?;
            let date = response.headers().get(DATE).and_then(|v| v.to_str().ok());
            let mut answer = Fetched {
                status: response.status().as_u16(),
                date_ms: date.and_then(date_ms),
                body: Vec::new(),
            };
            while let Some(piece) = response.chunk().await.map_err(chain)? {
                if answer.body.len() + piece.len() > ANSWER_BYTES_MAX {
                    return Err(format!("its answer is over {ANSWER_BYTES_MAX} bytes"));
                }
                answer.body.extend_from_slice(&piece);
            }
            Ok(answer)
        };
        let late = || Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs()));
        within(ANSWER_LIMIT, whole).await.unwrap_or_else(late)
    }
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str) -> Result<Fetched, String> {
        self.ask(self.0.get(url)).await
    }

    async fn post(&self, form: Form<'_>) -> Result<Fetched, String> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&form.fields)
            .finish();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut request = self
            .0
            .post(form.url)
            .header(reqwest::header::CONTENT_TYPE, kind)
            .body(body);
        if let Some(authorization) = form.authorization {
            let value = HeaderValue::from_str(&authorization);
            let mut value =
                value.map_err(|_| "the client's id and secret fit no header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        self.ask(request).await
    }
}
