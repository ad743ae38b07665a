//! What a panic says: one line in the log's own form, whichever thread it was. Whoever reads the log as JSON, or line by
//! line, must not find a second language in it at the worst moment.

/// From now on panics go to the log.
pub(super) fn go_to_the_log() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("it says nothing");
        tracing::error!(
            thread,
            place,
            "a defect: thread `{thread}` panicked at {place}: {message}"
        );
    }));
}
