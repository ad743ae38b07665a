//! A browser, as far as logging in needs one: it keeps cookies by host, says where a write comes from, and follows
//! nothing by itself.

use std::collections::HashMap;

use reqwest::{Method, RequestBuilder, Url};
use serde_json::Value;

/// What a page answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    /// Lines of `Set-Cookie`.
    pub cookies: Vec<String>,
    pub retry_after: Option<String>,
    pub policy: String,
    pub text: String,
}

impl Page {
    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .text
            .split_once(&mark)
            .unwrap_or_else(|| panic!("no {name} in {}", self.text));
        rest.split('"').next().unwrap().to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }
}

pub struct Browser {
    client: reqwest::Client,
    /// By host with port, and name.
    jar: HashMap<(String, String), String>,
    pub base: String,
    /// What it says its pages come from.
    pub origin: String,
    pub agent: String,
}

impl Browser {
    pub fn at(base: &str) -> Self {
        // The error is that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            jar: HashMap::new(),
            base: base.to_owned(),
            origin: base.to_owned(),
            agent: "a browser/1.0".to_owned(),
        }
    }

    fn host(&self, address: &str) -> String {
        let url = Url::parse(address).unwrap();
        format!(
            "{}:{}",
            url.host_str().unwrap(),
            url.port_or_known_default().unwrap()
        )
    }

    pub fn cookie(&self, name: &str) -> Option<&String> {
        self.jar.get(&(self.host(&self.base), name.to_owned()))
    }

    pub fn put_cookie(&mut self, name: &str, value: &str) {
        let key = (self.host(&self.base), name.to_owned());
        self.jar.insert(key, value.to_owned());
    }

    pub fn drop_cookie(&mut self, name: &str) {
        let key = (self.host(&self.base), name.to_owned());
        self.jar.remove(&key);
    }

    /// An address of the service, or a whole one.
    fn whole(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        }
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Page {
        let address = self.whole(path);
        let host = self.host(&address);
        let cookies = self.jar.iter().filter(|((at, _), _)| *at == host);
        let cookies: Vec<String> = cookies
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let mut request = self
            .client
            .request(method, &address)
            .header("user-agent", &self.agent);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let response = with(request).send().await.unwrap();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        let set = response.headers().get_all("set-cookie").iter();
        let page = Page {
            status: response.status().as_u16(),
            location: header("location"),
            cookies: set.map(|v| v.to_str().unwrap().to_owned()).collect(),
            retry_after: header("retry-after"),
            policy: header("content-security-policy").unwrap_or_default(),
            text: response.text().await.unwrap(),
        };
        for line in &page.cookies {
            let (pair, rest) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            if rest.contains("Max-Age=0") || value.is_empty() {
                self.jar.remove(&key);
            } else {
                self.jar.insert(key, value.to_owned());
            }
        }
        page
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, |request| request).await
    }

    /// Sends a form, as a page of this origin does.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let origin = self.origin.clone();
        self.send(Method::POST, path, |request| {
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", origin)
                .header("sec-fetch-site", "same-origin")
                .body(body)
        })
        .await
    }

    /// Logs in at the form.
    pub async fn log_in(&mut self, user: &str, password: &str) -> Page {
        let form = self.get("/login?next=/tasks").await;
        assert_eq!(form.status, 200, "{}", form.text);
        let fields = [
            ("form", form.field("form")),
            ("next", form.field("next")),
            ("user", user.to_owned()),
            ("password", password.to_owned()),
        ];
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.submit("/login", &fields).await
    }
}
