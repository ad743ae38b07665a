//! How the program ends. Asked once (SIGTERM, Ctrl-C) it ends softly: the lead is given up first, so that another node
//! takes over within milliseconds; then the worker's runs may end; then HTTP stops. Asked twice, or after the drain's
//! limit, it ends hard: what still runs is given to others when the lease is over. A duty that died ends it, too, and
//! non-zero: a node that only seems to live is worse than none. A thread of its own sees to the end if all others are
//! held up. SIGHUP takes again what its caller says, or ends it like the others.

use std::process::ExitCode;
use std::time::Duration;

use campanile_core::system;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::compose::App;

/// How much longer than the drain a soft end may take: the last writes to the store.
const MARGIN: Duration = Duration::from_secs(15);

/// How much later than that the process is ended from outside.
const OVERTIME: Duration = Duration::from_secs(10);

/// The signals that ask for the end, or for new settings.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    End,
    Anew,
}

/// What is done when new settings are asked for.
pub type Anew<'a> = Option<&'a (dyn Fn(&App) + Sync)>;

impl Signals {
    /// Listens from now on: what comes before the end is waited for is not lost.
    ///
    /// # Errors
    /// The operating system's.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Anew,
        }
    }

    /// Waits for the end to be asked for; a hang-up is that, too, where nothing can be taken again.
    async fn end(&mut self, hangup_ends: bool) {
        while self.next().await == Asked::Anew && !hangup_ends {}
    }
}

/// Ends the process from a thread of its own when it was asked to end and has not, for much longer than it may take. So
/// nothing that holds up the runtime's threads can hold up the end.
fn end_at_last(patience: Duration, hangup_ends: bool) {
    let thread = system::dedicated("campanile-end", move || async move {
        let Ok(mut signals) = Signals::listen() else {
            return;
        };
        signals.end(hangup_ends).await;
        tokio::select! {
            () = system::pause(patience) => {}
            () = async {
                signals.end(hangup_ends).await;
                // The runtime has had its chance to end by itself.
                system::pause(OVERTIME).await;
            } => {}
        }
        tracing::error!("this node does not end: its process is ended");
        std::process::exit(1);
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread that would end the process if nothing else does");
    }
}

/// Waits until the program is to end, and ends it. `again` is called when new settings are asked for.
pub async fn run(app: App, mut signals: Signals, drain: Duration, again: Anew<'_>) -> ExitCode {
    end_at_last(drain + MARGIN + OVERTIME, again.is_none());
    let failed = loop {
        tokio::select! {
            asked = signals.next() => match (asked, again) {
                (Asked::Anew, Some(again)) => again(&app),
                _ => break false,
            },
            () = app.node.failed() => break true,
        }
    };
    if failed {
        tracing::error!("a duty of this node died: the process ends, so that it is started again");
    } else {
        tracing::info!(
            "stopping: giving up the lead, then letting runs end; a second signal ends at once"
        );
    }
    let App {
        node,
        serving,
        cells,
        ..
    } = app;
    let soft = async {
        node.stop().await;
        serving.stop().await;
    };
    let ended = tokio::select! {
        ended = system::within(drain + MARGIN, soft) => ended.is_some(),
        () = signals.end(again.is_none()) => false,
    };
    if let Some(cells) = cells {
        cells.close();
    }
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
