//! What is wrong with a TOML file, in a line.

use toml::de::Error;

/// What a parser says, in a line, with what to do about it.
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

/// What is wrong with the file whose content is `text`, and in which line.
pub fn toml_reason_in(text: &str, error: &Error) -> String {
    let reason = toml_reason(error);
    let Some(span) = error.span() else {
        return reason;
    };
    let before = text.get(..span.start).unwrap_or_default();
    format!("line {}: {reason}", before.matches('\n').count() + 1)
}
