//! Files with the class names of a backbone's own head.

use std::path::Path;

use anyhow::{Context, Result, bail};
use piggyback::text;

/// Reads class names: a JSON array, or one name per line.
pub(super) fn read(path: &Path) -> Result<Vec<String>> {
    let text = text::read(path)?;
    names(&text).with_context(|| path.display().to_string())
}

fn names(text: &str) -> Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        let names: Vec<String> =
            serde_json::from_str(text).context("is not a JSON array of class names")?;
        if let Some(place) = names.iter().position(|name| name.trim().is_empty()) {
            bail!("name {} of {} is empty", place + 1, names.len());
        }
        return Ok(names);
    }
    // Lines end as on Unix, Windows or the first Macs; what is empty at the end is no class.
    let lines = text.trim_end().replace("\r\n", "\n").replace('\r', "\n");
    let names: Vec<String> = lines
        .split('\n')
        .map(|line| line.trim().to_owned())
        .collect();
    if let Some(place) = names.iter().position(String::is_empty) {
        bail!(
            "line {} is empty; every line must be the name of a class",
            place + 1
        );
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_stand_in_lines_or_in_an_array() {
        let expected = ["cat", "big dog", "hiç"];
        for text in [
            "cat\nbig dog\nhiç",
            "cat\nbig dog\nhiç\n",
            "cat\nbig dog\nhiç\n\n \n",
            "cat\r\nbig dog\r\nhiç\r\n\r\n",
            "cat\rbig dog\rhiç\r",
            " cat\t\nbig dog \nhiç",
            "[\"cat\", \"big dog\", \"hiç\"]\n",
            "\n [\"cat\",\n\"big dog\",\"hiç\"]",
        ] {
            assert_eq!(names(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_empty_name_is_told_with_its_place() {
        let reason = |text| names(text).unwrap_err().to_string();
        assert!(reason("cat\n\ndog\n").contains("line 2 is empty"));
        assert!(reason("cat\r\ndog\r\n \r\nhiç").contains("line 3 is empty"));
        assert!(reason("\ncat").contains("line 1 is empty"));
        assert!(reason("\n\n").contains("line 1 is empty"));
        assert!(reason(r#"["cat", ""]"#).contains("name 2 of 2 is empty"));
        assert!(reason("[1, 2]").contains("not a JSON array"));
    }
}
