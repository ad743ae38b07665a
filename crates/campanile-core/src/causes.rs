//! An error with its causes as one line of text, for logs and for people. It decides nothing by them.

/// An error with its causes, in one line; a cause whose text is in it already is not repeated.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        cause = error.source();
    }
    out
}
