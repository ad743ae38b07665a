//! Where an attempt writes: through what takes secrets out, into what is kept of it, and from there to the store while the attempt
//! runs. What is kept, and what of it the store lacks, is [`campanile_task::log`]'s; when it is written, the engine's.

use std::sync::{Arc, Mutex};

use campanile_task::log::{self, Kept, Room, Stored};
use tokio::sync::Notify;

use crate::port::attempt::Chunks;
use crate::scrub::{Forms, Scrubber};

/// The bounded log of one attempt: of more than its task's `log_bytes` its beginning and its end are kept. It goes to the store
/// while the attempt runs, within a second, and the rest with its end. All that any handler writes passes through [`Log::push`].
#[derive(Clone, Default)]
pub struct Log(Arc<Written>);

#[derive(Default)]
struct Written {
    output: Mutex<Output>,
    /// Whom to tell that the store lacks something.
    news: Option<Arc<Notify>>,
}

#[derive(Default)]
struct Output {
    kept: Kept,
    /// What takes the values of secrets out, if there are any.
    scrubber: Option<Scrubber>,
    /// Somebody was told that there is something to write to the store.
    told: bool,
    /// Somebody has looked since, and left it for the next time.
    seen: bool,
    /// The attempt has ended, or is no longer ours.
    closed: bool,
}

/// What is to be done about a log while its attempt runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// It is young: its attempt may end before the next look, and bring it along.
    Later,
    /// This is to be written; then the store has so much.
    Now(Chunks, Stored),
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({} bytes)", self.lock().kept.end())
    }
}

impl Log {
    /// An empty one with so much room; `news` is told when the store lacks something.
    pub(crate) fn new(room: Room, news: Arc<Notify>) -> Self {
        Self(Arc::new(Written {
            output: Mutex::new(Output {
                kept: Kept::new(room),
                ..Output::default()
            }),
            news: Some(news),
        }))
    }

    /// From now on these values are taken out of all text, before anything of it is kept.
    pub fn scrub_with(&self, forms: &Forms) {
        self.lock().scrubber = (!forms.is_empty()).then(|| forms.scrubber());
    }

    /// Adds text. Never waits: what the store can't take in time is counted as missing.
    pub fn push(&self, text: &str) {
        let mut output = self.lock();
        if output.closed {
            return;
        }
        match output.scrubber.as_mut().map(|scrubber| scrubber.push(text)) {
            Some(clean) => output.kept.push(&clean),
            None => output.kept.push(text),
        }
        if !output.told
            && output.kept.is_pending()
            && let Some(news) = &self.0.news
        {
            output.told = true;
            news.notify_one();
        }
    }

    /// Adds a line.
    pub fn line(&self, text: impl std::fmt::Display) {
        self.push(&format!("{text}\n"));
    }

    /// What was said: all of it, or its beginning and its end with a line between that tells how much is missing.
    #[must_use]
    pub fn text(&self) -> String {
        let output = self.lock();
        let mut text = log::join(0, &output.kept.whole()).text();
        // What it keeps back, because more may follow.
        let held = output.scrubber.clone().map(|mut scrubber| scrubber.end());
        text.push_str(&held.unwrap_or_default());
        text
    }

    /// Whether more was written than is kept.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().kept.is_over()
    }

    /// What is to be done now.
    pub(crate) fn look(&self) -> Due {
        let mut output = self.lock();
        let pending = output.kept.pending().filter(|_| !output.closed);
        let Some((chunks, stored)) = pending else {
            (output.told, output.seen) = (false, false);
            return Due::Nothing;
        };
        if !std::mem::replace(&mut output.seen, true) && !output.kept.is_streamed() {
            return Due::Later;
        }
        Due::Now(chunks, stored)
    }

    /// The store has this.
    pub(crate) fn settle(&self, stored: Stored) {
        self.lock().kept.settle(stored);
    }

    /// Nothing more is taken; what the store lacks.
    pub(crate) fn close(&self) -> Option<Chunks> {
        let mut output = self.lock();
        let rest = output.scrubber.take().map(|mut scrubber| scrubber.end());
        output.kept.push(&rest.unwrap_or_default());
        output.closed = true;
        output.kept.pending().map(|(chunks, _)| chunks)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Output> {
        self.0
            .output
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
