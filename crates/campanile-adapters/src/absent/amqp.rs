//! What stands in for AMQP brokers in a program that was built without them: says so, and how to have them.

use std::sync::Arc;

use campanile_core::port::broker::Broker;

use crate::service_url::ServiceUrl;

pub(crate) fn at(url: &ServiceUrl) -> Result<Arc<dyn Broker>, String> {
    Err(super::lacking(url, "amqp"))
}
