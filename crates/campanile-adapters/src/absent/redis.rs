//! What stands in for the Redis lock in a program that was built without it: says so, and how to have it.

use std::sync::Arc;

use campanile_core::port::lock::Lock;

use crate::service_url::ServiceUrl;

pub(crate) fn at(url: &ServiceUrl, _cluster: &str) -> Result<Arc<dyn Lock>, String> {
    Err(super::lacking(url, "redis"))
}
