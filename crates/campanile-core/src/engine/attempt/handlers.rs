//! The registry of what a worker can run: native handlers by name, and one executor each for `http` and `command`.
//! It erases the types of native handlers once, here, so that nothing else is generic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::decide::publish::routing::Abilities;
use crate::port::handler::{Context, Executor, Failure, Handler, Returned, STOP_GRACE};
use crate::port::secrets::Secrets;
use crate::task::HandlerSpec;

/// The handlers of a worker.
#[derive(Clone, Default)]
pub struct Handlers {
    native: HashMap<&'static str, Arc<dyn Native>>,
    http: Option<Arc<dyn Executor>>,
    command: Option<Arc<dyn Executor>>,
    secrets: Option<Arc<dyn Secrets>>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<_> = self.native.keys().collect();
        names.sort_unstable();
        write!(f, "Handlers({names:?})")
    }
}

impl Handlers {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a native handler under its [`Handler::NAME`]; the last one with a name wins.
    #[must_use]
    pub fn native<H: Handler>(mut self, handler: H) -> Self {
        self.native.insert(H::NAME, Arc::new(Erased(handler)));
        self
    }

    /// What runs `http` handlers.
    #[must_use]
    pub fn http(mut self, executor: Arc<dyn Executor>) -> Self {
        self.http = Some(executor);
        self
    }

    /// Where the values of secrets come from; without it, tasks that name one are given back.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    pub(super) fn its_secrets(&self) -> Option<&Arc<dyn Secrets>> {
        self.secrets.as_ref()
    }

    /// What runs `command` handlers.
    #[must_use]
    pub fn command(mut self, executor: Arc<dyn Executor>) -> Self {
        self.command = Some(executor);
        self
    }
}

#[async_trait]
trait Native: Send + Sync {
    async fn call(&self, context: Context) -> Result<Returned, Failure>;
}

struct Erased<H>(H);

#[async_trait]
impl<H: Handler> Native for Erased<H> {
    async fn call(&self, context: Context) -> Result<Returned, Failure> {
        let args = serde_json::from_value(context.payload.clone()).map_err(|e| {
            Failure::fatal(format!("the payload is not what `{}` takes: {e}", H::NAME))
        })?;
        let output = self.0.run(context, args).await?;
        let returned = serde_json::to_string(&output)
            .map_err(|e| Failure::fatal(format!("what `{}` returned is no JSON: {e}", H::NAME)))?;
        Ok(Some(returned).filter(|json| json != "null"))
    }
}

impl Handlers {
    /// What a worker with these announces.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        let native = self.native.keys().map(|name| (*name).to_owned());
        let programs = match &self.command {
            Some(command) => command.programs(),
            None => Some(Vec::new()),
        };
        Abilities::announce(native, self.http.is_some(), programs)
    }

    fn executor(&self, handler: &HandlerSpec) -> Option<&Arc<dyn Executor>> {
        match handler {
            HandlerSpec::Http(_) => self.http.as_ref(),
            HandlerSpec::Command(_) => self.command.as_ref(),
            HandlerSpec::Native(_) | HandlerSpec::External(_) => None,
        }
    }
}

fn unknown(name: &str) -> String {
    format!(
        "no native handler `{name}` is registered in this worker: register it, or give the task a queue that its \
         workers listen on"
    )
}

fn of_no_kind(handler: &HandlerSpec) -> String {
    format!("this worker runs no `{}` handlers", handler.kind())
}

#[async_trait]
impl Executor for Handlers {
    async fn refusal(&self, handler: &HandlerSpec) -> Option<String> {
        if let HandlerSpec::Native(name) = handler {
            return (!self.native.contains_key(name.as_str())).then(|| unknown(name));
        }
        match self.executor(handler) {
            Some(executor) => executor.refusal(handler).await,
            None => Some(of_no_kind(handler)),
        }
    }

    fn stop_grace(&self, handler: &HandlerSpec) -> Duration {
        match self.executor(handler) {
            Some(executor) => executor.stop_grace(handler),
            None => STOP_GRACE,
        }
    }

    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<Returned, Failure> {
        if let HandlerSpec::Native(name) = handler {
            return match self.native.get(name.as_str()) {
                Some(native) => native.call(context).await,
                None => Err(Failure::not_allowed(unknown(name))),
            };
        }
        match self.executor(handler) {
            Some(executor) => executor.execute(handler, context).await,
            None => Err(Failure::not_allowed(of_no_kind(handler))),
        }
    }
}
