//! Names made safe to print.

use std::borrow::Cow;

/// `text` in one line without invisible characters: a newline is shown as `\n`, an escape character
/// as `\u{1b}`, a right-to-left override as `\u{202e}`.
///
/// Names of files, classes and tasks are untrusted. Printed unchanged, they could add lines to a
/// result, move the cursor, or reverse the text direction. The function is idempotent.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if is_hidden(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// [`visible`], but keeps newlines and tabs: for multi-line text, such as a plan.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_hidden(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let lines = text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let parts: Vec<Cow<'_, str>> = line.split('\t').map(visible).collect();
        parts.join("\t")
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// Whether a character is a control character, or invisible and affects the text around it.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, joiners and fillers that have no shape.
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            // Direction: marks, embeddings, overrides, isolates; zero-width spaces and joiners;
            // line and paragraph separators.
            | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Mongolian selectors, the byte-order mark, interlinear annotations.
            | '\u{180b}'..='\u{180f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            // Shorthand and musical controls, tags. Variation selectors (E0100 on) stay: Japanese
            // names have them.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{visible, visible_lines};

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, expected) in [
            ("a.png\n  99.99 %  forged", r"a.png\n  99.99 %  forged"),
            (
                "\r\t\u{1b}[2J\0\u{7f}\u{9b}",
                r"\r\t\u{1b}[2J\u{0}\u{7f}\u{9b}",
            ),
            (
                "gnp.\u{202e}exe\u{2066}\u{2069}",
                r"gnp.\u{202e}exe\u{2066}\u{2069}",
            ),
            (
                "\u{feff}n0\u{200b}\u{200d}\u{2060}",
                r"\u{feff}n0\u{200b}\u{200d}\u{2060}",
            ),
            ("a\u{2028}b\u{2029}c\u{85}", r"a\u{2028}b\u{2029}c\u{85}"),
            ("\u{e0041}", r"\u{e0041}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn what_can_be_seen_stays() {
        for text in [
            "",
            "hiç",
            "日本 語",
            "🇫🇷 ❤️",
            r"C:\new\table",
            "e\u{301}",
            "葛\u{e0100}",
        ] {
            assert!(matches!(visible(text), std::borrow::Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn lines_of_a_longer_text_stay() {
        let text = "seeds = [0]\r\n\tx = \"\u{202e}\u{1b}\"\n";
        assert_eq!(
            visible_lines(text),
            "seeds = [0]\n\tx = \"\\u{202e}\\u{1b}\"\n"
        );
        assert_eq!(visible_lines("a\n\tb\n"), "a\n\tb\n");
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_and_stays_so(text in any::<String>()) {
            let once = visible(&text).into_owned();
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert_eq!(visible(&once), once.as_str());
        }
    }
}
