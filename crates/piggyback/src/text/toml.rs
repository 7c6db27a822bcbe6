//! TOML errors in one line.

use toml::de::Error;

/// The parser's message in one line, with advice.
pub fn toml_reason(error: &Error) -> String {
    let reason = error.message().replace('\n', ", ").replace('`', "'");
    if reason.starts_with("unknown field") {
        format!("{reason}; correct or remove the key")
    } else if reason.starts_with("missing field") {
        format!("{reason}; add it")
    } else {
        reason
    }
}

/// The parser's message for a file with content `text`, with the line number.
pub fn toml_reason_in(text: &str, error: &Error) -> String {
    let reason = toml_reason(error);
    let Some(span) = error.span() else {
        return reason;
    };
    let before = text.get(..span.start).unwrap_or_default();
    format!("line {}: {reason}", before.matches('\n').count() + 1)
}
