//! What each broker does beyond what we need of it, and what it lacks: one table for the tests, for `doctor` and for the
//! guide. The tests try each entry on the real server, with the setting where one is named, so that nothing is pretended.

/// Whether a broker does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As it comes.
    Yes,
    /// With this setting of the broker.
    Set(&'static str),
    /// It does not; what to do about it.
    No(&'static str),
}

impl Support {
    /// Whether it does, on a broker that has the setting.
    #[must_use]
    pub const fn is_there(self) -> bool {
        !matches!(self, Self::No(_))
    }
}

/// What a broker can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What they are said of.
    pub broker: &'static str,
    /// What waits goes by priority.
    pub priorities: Support,
    /// A subscription may choose messages by their properties.
    pub selectors: Support,
    /// Each queue may have dead letters of its own.
    pub own_dead_letters: Support,
    /// A message that its consumer gave back comes again after a delay.
    pub delayed_redelivery: Support,
    /// Several sends become visible together or not at all.
    pub transactions: Support,
    /// A client may ask who consumes a queue.
    pub visible_consumers: Support,
}

const OWN_QUEUE: Support = Support::No(
    "urgent tasks wait behind others: give them a queue of their own, and workers that take it",
);
const OWN_RETRIES: Support =
    Support::No("nothing is lost by it: retries are Campanile's own, by the task's `retry`");
const NO_SELECTORS: Support = Support::No(
    "a listener that is not Campanile's needs a destination of its own instead of a selector",
);
const NO_SET: Support = Support::No(
    "a batch may be stored in part before its confirm: what is sent again starts nothing twice",
);

impl Capabilities {
    /// Of the broker in a process's memory.
    pub const MEMORY: Self = Self {
        broker: "memory",
        priorities: Support::Yes,
        selectors: Support::No("there is nobody else to listen"),
        own_dead_letters: Support::No("there is nobody else to give a message up"),
        delayed_redelivery: OWN_RETRIES,
        transactions: NO_SET,
        visible_consumers: Support::No("all are in this process"),
    };
    /// Of RabbitMQ's quorum queues, over AMQP 0-9-1.
    pub const RABBITMQ_QUORUM: Self = Self {
        broker: "RabbitMQ, quorum queues, AMQP 0-9-1",
        priorities: OWN_QUEUE,
        selectors: NO_SELECTORS,
        own_dead_letters: Support::Set(
            "a policy with dead-letter-exchange and dead-letter-routing-key",
        ),
        delayed_redelivery: OWN_RETRIES,
        transactions: NO_SET,
        visible_consumers: Support::Yes,
    };
    /// Of RabbitMQ's classic queues, over AMQP 0-9-1.
    pub const RABBITMQ_CLASSIC: Self = Self {
        broker: "RabbitMQ, classic queues, AMQP 0-9-1",
        priorities: Support::Yes,
        ..Self::RABBITMQ_QUORUM
    };
    /// Of RabbitMQ, over STOMP.
    pub const RABBITMQ_STOMP: Self = Self {
        broker: "RabbitMQ, STOMP",
        visible_consumers: Support::No("STOMP has no way to ask; over amqp:// there is one"),
        ..Self::RABBITMQ_QUORUM
    };
    /// Of ActiveMQ "Classic", over STOMP.
    pub const ACTIVEMQ: Self = Self {
        broker: "ActiveMQ, STOMP",
        priorities: Support::Set("prioritizedMessages=\"true\" in the queue's policyEntry"),
        selectors: Support::Yes,
        own_dead_letters: Support::Set(
            "an individualDeadLetterStrategy in the queue's policyEntry",
        ),
        delayed_redelivery: Support::Set("a redeliveryPlugin and schedulerSupport=\"true\""),
        transactions: Support::Yes,
        visible_consumers: Support::No("STOMP has no way to ask; the broker's console has one"),
    };

    /// Those of whoever calls himself so over STOMP; `None` for a broker that was never tried.
    #[must_use]
    pub fn of_stomp(server: &str) -> Option<Self> {
        if server.starts_with("ActiveMQ/") {
            return Some(Self::ACTIVEMQ);
        }
        server
            .starts_with("RabbitMQ/")
            .then_some(Self::RABBITMQ_STOMP)
    }

    /// Each by its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Support); 6] {
        [
            ("priorities", self.priorities),
            ("selectors", self.selectors),
            ("own dead letters", self.own_dead_letters),
            ("delayed redelivery", self.delayed_redelivery),
            ("transactions", self.transactions),
            ("visible consumers", self.visible_consumers),
        ]
    }
}
