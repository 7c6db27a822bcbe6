//! Progress bars; their texts are escaped like all output.

use indicatif::{ProgressBar, ProgressStyle};
use piggyback::text::visible;

/// A bar on stderr.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// An invisible bar.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A bar over `total` items, not yet drawn.
    pub(crate) fn new(total: u64, template: &str) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Adds this bar to others.
    pub(crate) fn among(self, bars: &indicatif::MultiProgress) -> Self {
        Self(bars.add(self.0))
    }

    pub(crate) fn set_prefix(&self, text: &str) {
        self.0.set_prefix(visible(text).into_owned());
    }

    pub(crate) fn set_message(&self, text: &str) {
        self.0.set_message(visible(text).into_owned());
    }

    pub(crate) fn set_length(&self, total: u64) {
        self.0.set_length(total);
    }

    pub(crate) fn set_position(&self, done: u64) {
        self.0.set_position(done);
    }

    pub(crate) fn inc(&self, more: u64) {
        self.0.inc(more);
    }

    /// Resets the estimated speed.
    pub(crate) fn reset_eta(&self) {
        self.0.reset_eta();
    }

    /// Ends a bar without clearing it.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }

    pub(crate) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::Bar;

    #[test]
    fn texts_are_escaped() {
        let bar = Bar::new(1, "{prefix} {msg}");
        bar.set_prefix("a\n100 %");
        bar.set_message("b\u{202e}");
        assert_eq!(
            (bar.0.prefix(), bar.0.message()),
            (r"a\n100 %".into(), r"b\u{202e}".into())
        );
    }
}
