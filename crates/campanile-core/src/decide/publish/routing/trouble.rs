//! Why nobody takes a run, in words with the remedy. Owns the words; what is so is [`super::Routes`]' to say.

use std::fmt;

use super::Need;
use crate::task::QueueName;

/// Why nobody takes a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No living worker listens on the queue.
    NobodyListens {
        queue: QueueName,
        /// One with listeners that is called almost the same.
        meant: Option<QueueName>,
    },
    /// No living worker of the queue can carry it out.
    NobodyCan { queue: QueueName, need: Need },
}

impl fmt::Display for Trouble {
    /// A clause with its remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, need) = match self {
            Self::NobodyCan { queue, need } => (queue, need),
            Self::NobodyListens { queue, meant } => {
                write!(f, "nobody listens on queue `{queue}`")?;
                return match meant {
                    Some(meant) => write!(f, "; did you mean `{meant}`?"),
                    None => {
                        f.write_str(": start a worker that does, or give the task another queue")
                    }
                };
            }
        };
        if let Need::Secrets(..) = need {
            return write!(
                f,
                "no living worker of queue `{queue}` gives the task the secrets that it names: the attempts of its runs say \
                 which, and why (`campanile run show`)"
            );
        }
        if *need == Need::Listener {
            return f.write_str(
                "the cluster's broker is `store:`, which carries messages to our own workers alone, and the handler is \
                 `external`: give the nodes a broker that the listener has too (stomp://…), or the task another handler",
            );
        }
        write!(
            f,
            "no living worker of queue `{queue}` can do `{need}`: start one "
        )?;
        match need {
            Need::Http => f.write_str("that makes HTTP requests"),
            Need::Native(name) => write!(f, "that has the handler `{name}`"),
            Need::Command(program, _) => write!(
                f,
                "with `--allow-commands {program}` that takes these arguments and variables, too"
            ),
            Need::AnyCommand => f.write_str("with `--allow-commands`"),
            Need::Listener | Need::Secrets(..) => Ok(()),
        }
    }
}
