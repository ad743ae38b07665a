//! How the program ends. Asked once (SIGTERM, Ctrl-C) it ends softly: the lead is given up first, so that another node
//! takes over within milliseconds; then the worker's runs may end; then HTTP stops. Asked twice, or after the drain's
//! limit, it ends hard: what still runs is given to others when the lease is over. A duty that died ends it, too, and
//! non-zero: a node that only seems to live is worse than none.

use std::process::ExitCode;
use std::time::Duration;

use campanile::system;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::compose::App;

/// How much longer than the drain a soft end may take: the last writes to the store.
const MARGIN: Duration = Duration::from_secs(15);

/// The signals that ask for the end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on: what comes before the end is waited for is not lost.
    ///
    /// # Errors
    /// The operating system's.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits until the program is to end, and ends it.
pub async fn run(app: App, mut signals: Signals, drain: Duration) -> ExitCode {
    let failed = tokio::select! {
        () = signals.next() => false,
        () = app.node.failed() => true,
    };
    if failed {
        tracing::error!("a duty of this node died: the process ends, so that it is started anew");
    } else {
        tracing::info!(
            "stopping: giving up the lead, then letting runs end; a second signal ends at once"
        );
    }
    let App { node, serving, .. } = app;
    let soft = async {
        node.stop().await;
        serving.stop().await;
    };
    let ended = tokio::select! {
        ended = system::within(drain + MARGIN, soft) => ended.is_some(),
        () = signals.next() => false,
    };
    if !ended {
        tracing::warn!(
            "ended hard: runs that were under way start again elsewhere when this node's lease is over"
        );
    }
    if failed || !ended {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
