//! A progress bar on stderr, where a person looks at it; nowhere else. Never on stdout, which holds the one JSON line.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One phase of a workload.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A phase with so many steps. indicatif draws nothing unless stderr is a terminal.
    #[must_use]
    pub fn new(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg:>12} [{wide_bar}] {pos}/{len} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// So far.
    pub fn at(&self, step: usize) {
        self.0.set_position(step as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
