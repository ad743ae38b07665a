//! What `/metrics` says of store and broker beside the node's own counters: what they did wrong, as the adapters saw it.

use std::sync::Arc;

use campanile_adapters::sql::Space;
use campanile_core::port::broker::Broker;

/// The adapters that are looked at.
pub struct Outside {
    /// The conveyor.
    pub broker: Arc<dyn Broker>,
    /// The room on the store's disk.
    pub space: Option<Arc<Space>>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

impl Outside {
    /// All of it, now.
    #[must_use]
    pub fn text(&self) -> String {
        let faults = self.broker.faults();
        let unread = self.space.as_ref().map_or(0, |space| space.rows_unread());
        let full = self.space.as_ref().is_some_and(|space| space.is_full());
        format!(
            "# TYPE campanile_store_full gauge\n\
             # HELP campanile_store_full Whether the store refuses writes because its disk is full\n\
             campanile_store_full {}\n\
             # TYPE campanile_store_rows_unreadable counter\n\
             # HELP campanile_store_rows_unreadable Times that a row of the store could not be read\n\
             campanile_store_rows_unreadable_total {unread}\n\
             # TYPE campanile_broker_connections_broken counter\n\
             # HELP campanile_broker_connections_broken Connections dropped because the broker broke its protocol\n\
             campanile_broker_connections_broken_total {}\n\
             # TYPE campanile_broker_messages_cut counter\n\
             # HELP campanile_broker_messages_cut Messages cut because they break a limit\n\
             campanile_broker_messages_cut_total {}\n",
            i32::from(full),
            faults.connections_broken,
            faults.messages_cut
        )
    }
}
