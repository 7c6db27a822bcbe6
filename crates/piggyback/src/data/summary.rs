//! Which files of a folder are not used, and why.

use std::path::Path;

use serde::Serialize;

/// Why files of a folder are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LeftOutReason {
    /// They are not in a supported image format.
    NotAnImage,
    /// Their name, or that of their folder, begins with a dot.
    Hidden,
    /// They are in a folder of an operating system or storage device, such as `@eaDir` or
    /// `__MACOSX`.
    SystemFolder,
    /// They are in a folder that Piggyback wrote: a run or a comparison.
    RunFolder,
    /// Images beside the class folders.
    NoClass,
    /// They are in a folder that is not a split, beside `train/`, `val/` and `test/`.
    NoSplit,
    /// Images of a split that has no class folders.
    Unlabelled,
}

impl LeftOutReason {
    /// Completes "3 files ...".
    fn text(self, files: usize) -> &'static str {
        match self {
            Self::NotAnImage if files == 1 => "that is not an image",
            Self::NotAnImage => "that are not images",
            Self::Hidden => "with hidden names",
            Self::SystemFolder => "in system folders",
            Self::RunFolder => "in run folders",
            Self::NoClass => "in no class folder",
            Self::NoSplit => "in folders that are not splits",
            Self::Unlabelled => "of a split without class folders",
        }
    }
}

/// Unused files with the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// The reason.
    pub reason: LeftOutReason,
    /// How many files.
    pub files: usize,
    /// The first of them, or their folder.
    pub example: String,
}

/// Notes and unused files of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FolderSummary {
    /// How the folder was interpreted, if this may be unexpected; sentences.
    pub notes: Vec<String>,
    /// Unused files by reason.
    pub left_out: Vec<LeftOut>,
}

impl FolderSummary {
    /// All unused files, in one line: "left out: 2 files that are not images (such as
    /// a/notes.txt)"; `None` if there are none.
    pub fn left_out_text(&self) -> Option<String> {
        let parts: Vec<String> = (self.left_out.iter())
            .map(
                |LeftOut {
                     reason,
                     files,
                     example,
                 }| {
                    let noun = if *files == 1 { "file" } else { "files" };
                    format!("{files} {noun} {} (such as {example})", reason.text(*files))
                },
            )
            .collect();
        (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
    }

    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Counts `files` more; does nothing for 0.
    pub(super) fn leave_out(&mut self, reason: LeftOutReason, files: usize, example: &Path) {
        if files == 0 {
            return;
        }
        match self.left_out.iter_mut().find(|left| left.reason == reason) {
            Some(left) => left.files += files,
            None => self.left_out.push(LeftOut {
                reason,
                files,
                example: example.to_string_lossy().into_owned(),
            }),
        }
    }

    /// Adds the summary of another part of the folder.
    pub(super) fn merge(&mut self, other: &Self) {
        self.notes.extend(other.notes.iter().cloned());
        for left in &other.left_out {
            self.leave_out(left.reason, left.files, Path::new(&left.example));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_one_reason_add_up() {
        let mut summary = FolderSummary::default();
        assert_eq!(summary.left_out_text(), None);
        summary.leave_out(LeftOutReason::NotAnImage, 1, Path::new("a/notes.txt"));
        summary.leave_out(LeftOutReason::Hidden, 0, Path::new("b"));
        let mut other = FolderSummary::default();
        other.leave_out(LeftOutReason::NotAnImage, 2, Path::new("c.csv"));
        other.leave_out(LeftOutReason::SystemFolder, 1, Path::new("@eaDir"));
        summary.merge(&other);
        assert_eq!(
            summary.left_out_text().unwrap(),
            "left out: 3 files that are not images (such as a/notes.txt), \
             1 file in system folders (such as @eaDir)"
        );
    }
}
