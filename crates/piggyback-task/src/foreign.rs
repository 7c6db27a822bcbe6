//! Detects files of other formats that were given instead of a checkpoint, a task file or an image:
//! a Git LFS pointer, an HTML page, an archive. Errors then name the format instead of "damaged".
//!
//! It is in this crate because task files need it too, and this crate depends on no other crate of
//! the project.

/// Number of bytes at the beginning of a file that [`what_is`] needs, or fewer for a shorter file.
pub const FIRST_BYTES: usize = 1024;

/// An unexpected file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// With its article, to follow "this is": "a Git LFS pointer".
    pub name: &'static str,
    /// What to do, an imperative: "run `git lfs pull` ...".
    pub advice: &'static str,
}

const fn kind(name: &'static str, advice: &'static str) -> Foreign {
    Foreign { name, advice }
}

const GIVE_OTHER: &str = "give the right file";
const CONVERT_IMAGE: &str = "convert it to png or jpeg";
const UNPACK: &str = "unpack it and give what is inside";
const TORCH_WEIGHTS: &str = "save the network's weights from its framework as .safetensors or \
     .pth, with torchvision's or timm's names";
const DOWNLOADED_PAGE: &str = "it is probably a server's reply instead of the file: open it to \
     read the reply, and download the file again (signed in, if the site requires it)";

const GIT_LFS: Foreign = kind(
    "a Git LFS pointer, not the file itself",
    "run `git lfs install && git lfs pull` in its repository to fetch the file",
);
const GIT_ANNEX: Foreign = kind(
    "a git-annex pointer, not the file itself",
    "run `git annex get` in its repository to fetch the file",
);
const HTML: Foreign = kind("an HTML page", DOWNLOADED_PAGE);
const JSON: Foreign = kind("a JSON document", DOWNLOADED_PAGE);
const XML: Foreign = kind("an XML document", DOWNLOADED_PAGE);
const SVG: Foreign = kind("an SVG drawing", "convert it to png in the size you want");
const SAFETENSORS_INDEX: Foreign = kind(
    "the index of a safetensors checkpoint in several files",
    "join the files that it lists into one .safetensors file",
);
const TEXT: Foreign = kind("a text file", GIVE_OTHER);
const ZEROS: Foreign = kind(
    "a file that begins with only zero bytes",
    "it is probably an incomplete download or copy: download it again",
);
const SAFETENSORS: Foreign = kind("a safetensors file", GIVE_OTHER);
const ZIP: Foreign = kind("a zip archive", UNPACK);
const NPZ: Foreign = kind(
    "a NumPy archive (.npz)",
    "save its arrays as .safetensors, or give the right file",
);
const ONNX: Foreign = kind("an ONNX network", TORCH_WEIGHTS);
const MP4: Foreign = kind("a video", "extract its frames as png or jpeg");
const HEIC: Foreign = kind("a HEIC image", CONVERT_IMAGE);
const AVIF: Foreign = kind("an AVIF image", CONVERT_IMAGE);

/// Signatures: bytes at an offset that identify a format.
#[rustfmt::skip]
const SIGNATURES: &[(usize, &[u8], Foreign)] = &[
    (0, b"\x89HDF\r\n\x1A\n", kind("an HDF5 file (Keras weights, .h5)", TORCH_WEIGHTS)),
    (0, b"GGUF", kind("a GGUF file", TORCH_WEIGHTS)),
    (4, b"TFL3", kind("a TensorFlow Lite network", TORCH_WEIGHTS)),
    (0, b"\x93NUMPY", kind("a NumPy array (.npy)", "save it in the expected format, or give the \
         right file")),
    (0, b"\x1F\x8B", kind("a gzip archive", "unpack it (gunzip, or tar -xzf) and give what is inside")),
    (0, b"\xFD7zXZ\0", kind("an xz archive", "unpack it (unxz, or tar -xJf) and give what is inside")),
    (0, b"\x28\xB5\x2F\xFD", kind("a Zstandard archive", "unpack it (unzstd) and give what is inside")),
    (0, b"BZh", kind("a bzip2 archive", "unpack it (bunzip2, or tar -xjf) and give what is inside")),
    (0, b"7z\xBC\xAF\x27\x1C", kind("a 7-Zip archive", UNPACK)),
    (0, b"Rar!\x1A\x07", kind("a RAR archive", UNPACK)),
    (257, b"ustar", kind("a tar archive", "unpack it (tar -xf) and give what is inside")),
    (0, b"PK\x05\x06", kind("an empty zip archive", GIVE_OTHER)),
    (0, b"%PDF-", kind("a PDF document", "save its pages or its pictures as png")),
    (0, b"%!PS", kind("a PostScript document", CONVERT_IMAGE)),
    (0, b"\xFF\xD8\xFF", kind("a JPEG image", GIVE_OTHER)),
    (0, b"\x89PNG\r\n\x1A\n", kind("a PNG image", GIVE_OTHER)),
    (0, b"GIF8", kind("a GIF image", GIVE_OTHER)),
    (8, b"WEBP", kind("a WebP image", GIVE_OTHER)),
    (0, b"II*\0", kind("a TIFF image", GIVE_OTHER)),
    (0, b"MM\0*", kind("a TIFF image", GIVE_OTHER)),
    (0, b"II+\0", kind("a BigTIFF image", CONVERT_IMAGE)),
    (0, b"MM\0+", kind("a BigTIFF image", CONVERT_IMAGE)),
    (0, b"\xFF\x0A", kind("a JPEG XL image", CONVERT_IMAGE)),
    (0, b"\0\0\0\x0CJXL ", kind("a JPEG XL image", CONVERT_IMAGE)),
    (0, b"\0\0\0\x0CjP  ", kind("a JPEG 2000 image", CONVERT_IMAGE)),
    (0, b"\xFF\x4F\xFF\x51", kind("a JPEG 2000 image", CONVERT_IMAGE)),
    (0, b"8BPS", kind("a Photoshop document", CONVERT_IMAGE)),
    (0, b"gimp xcf", kind("a GIMP document", CONVERT_IMAGE)),
    (0, b"v/1\x01", kind("an OpenEXR image", CONVERT_IMAGE)),
    (0, b"#?RADIANCE", kind("a Radiance HDR image", CONVERT_IMAGE)),
    (0, b"DDS ", kind("a DDS texture", CONVERT_IMAGE)),
    (0, b"qoif", kind("a QOI image", CONVERT_IMAGE)),
    (0, b"\0\0\x01\0", kind("an icon (.ico)", CONVERT_IMAGE)),
    (0, b"\x1A\x45\xDF\xA3", MP4),
    (8, b"AVI ", MP4),
    (0, b"\0\x05\x16\x07", kind("a macOS AppleDouble file (._NAME)", "remove it, and give the \
         file without ._ in its name")),
    (0, b"\x80\x02", kind("a Python pickle (PyTorch's old format)", GIVE_OTHER)),
    (0, b"\x80\x03", kind("a Python pickle", GIVE_OTHER)),
    (0, b"\x80\x04", kind("a Python pickle", GIVE_OTHER)),
    (0, b"\x80\x05", kind("a Python pickle", GIVE_OTHER)),
    (0, b"\x7FELF", kind("a program", GIVE_OTHER)),
    (0, b"SQLite format 3\0", kind("an SQLite database", GIVE_OTHER)),
];

/// Detects a file's format from its first [`FIRST_BYTES`]; `None` if unknown or empty.
///
/// The result may be a format that the caller reads, so callers must check their own formats first.
pub fn what_is(first_bytes: &[u8]) -> Option<Foreign> {
    let starts_at = |offset: usize, bytes: &[u8]| {
        first_bytes
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(bytes))
    };
    if first_bytes.is_empty() {
        return None;
    }
    if starts_at(0, b"PK\x03\x04") {
        return Some(zip(first_bytes));
    }
    if starts_at(4, b"ftyp") {
        return Some(media(first_bytes));
    }
    SIGNATURES
        .iter()
        .find(|(offset, bytes, _)| starts_at(*offset, bytes))
        .map(|(_, _, foreign)| *foreign)
        .or_else(|| is_safetensors(first_bytes).then_some(SAFETENSORS))
        .or_else(|| text(first_bytes))
        .or_else(|| is_onnx(first_bytes).then_some(ONNX))
        .or_else(|| (first_bytes.len() >= 16 && all_zero(first_bytes)).then_some(ZEROS))
}

/// By the name of the first entry.
fn zip(first_bytes: &[u8]) -> Foreign {
    let length = |at: usize| {
        let bytes = first_bytes.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let name = length(26).and_then(|length| first_bytes.get(30..30 + length));
    match name {
        Some(name) if name.ends_with(b".npy") => NPZ,
        _ => ZIP,
    }
}

/// By the brand of an ISO media file.
fn media(first_bytes: &[u8]) -> Foreign {
    match first_bytes.get(8..12) {
        Some(b"avif" | b"avis") => AVIF,
        Some(
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"mif2",
        ) => HEIC,
        _ => MP4,
    }
}

/// The length of a header, then its opening brace.
fn is_safetensors(first_bytes: &[u8]) -> bool {
    matches!(first_bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// A `ModelProto` that begins as all known writers do: the IR version, then another field.
fn is_onnx(first_bytes: &[u8]) -> bool {
    match *first_bytes {
        // The producer's name, a string.
        [0x08, 1..=32, 0x12, length, ref rest @ ..] => {
            let name = rest.get(..usize::from(length));
            length < 0x80
                && name.is_some_and(|name| name.iter().all(|byte| (0x20..0x7F).contains(byte)))
        }
        // The graph, or the operators' version.
        [0x08, 1..=32, 0x3A | 0x42, ..] => first_bytes.len() >= 16,
        _ => false,
    }
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The format of a text file, if it is one.
fn text(first_bytes: &[u8]) -> Option<Foreign> {
    let text = readable(first_bytes)?.to_ascii_lowercase();
    let text = text.trim_start();
    let begins = |with: &[&str]| with.iter().any(|with| text.starts_with(with));
    Some(
        if text.contains("version https://git-lfs.github.com/spec/")
            || begins(&["version https://hawser.github.com/spec/"])
        {
            GIT_LFS
        } else if begins(&["/annex/objects/"])
            || (text.len() < 512 && text.contains(".git/annex/objects/"))
        {
            GIT_ANNEX
        } else if begins(&["<svg", "<!doctype svg"])
            || (begins(&["<?xml", "<!--"]) && text.contains("<svg"))
        {
            SVG
        } else if begins(&["<!doctype html", "<html", "<head", "<body", "<title"])
            || (begins(&["<?xml", "<!--", "<!doctype"]) && text.contains("<html"))
        {
            HTML
        } else if begins(&["<?xml"]) || (begins(&["<"]) && text.contains("</")) {
            XML
        } else if begins(&["{"]) && text.contains("\"weight_map\"") {
            SAFETENSORS_INDEX
        } else if is_json(text) {
            JSON
        } else {
            TEXT
        },
    )
}

/// Whether the visible part is an object or a list.
fn is_json(text: &str) -> bool {
    let inside = |open: char| text.strip_prefix(open).map(str::trim_start);
    inside('{').is_some_and(|rest| rest.starts_with(['"', '}']))
        || inside('[').is_some_and(|rest| {
            rest.starts_with(['"', '{', '[', ']', '-'])
                || rest.starts_with(|c: char| c.is_ascii_digit())
        })
}

/// The bytes as text, if they are UTF-8 or marked UTF-16 without control characters.
fn readable(first_bytes: &[u8]) -> Option<String> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    let text = match first_bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => match str::from_utf8(rest) {
            Ok(text) => text.to_owned(),
            // The last character may be truncated.
            Err(error) if error.error_len().is_none() => {
                String::from_utf8_lossy(&rest[..error.valid_up_to()]).into_owned()
            }
            Err(_) => return None,
        },
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{C}' | '\u{1B}');
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(bytes: &[u8]) -> &'static str {
        what_is(bytes).map_or("nothing known", |foreign| foreign.name)
    }

    #[test]
    fn pointers_of_git_are_told_and_say_how_to_fetch() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let foreign = what_is(pointer).unwrap();
        assert!(
            foreign.name.contains("Git LFS pointer") && foreign.advice.contains("git lfs pull")
        );
        let foreign = what_is(b"/annex/objects/SHA256E-s31--ab.jpg\n").unwrap();
        assert!(foreign.advice.contains("git annex get"));
    }

    #[test]
    fn pages_and_documents_are_told_apart() {
        for (bytes, name) in [
            (&b"<!DOCTYPE html><html><body>404"[..], "an HTML page"),
            (b"\n\n  <HTML lang=en>", "an HTML page"),
            (b"\xEF\xBB\xBF<!doctype html>", "an HTML page"),
            (
                b"<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC><html xmlns>",
                "an HTML page",
            ),
            (b"{\"error\": \"not found\"}", "a JSON document"),
            (b"[ {\"a\": 1}]", "a JSON document"),
            (
                b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>",
                "an XML document",
            ),
            (
                b"<svg xmlns='http://www.w3.org/2000/svg'>",
                "an SVG drawing",
            ),
            (
                b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg>",
                "an SVG drawing",
            ),
            (b"%PDF-1.7\n%\xE2\xE3", "a PDF document"),
            (
                b"{\"metadata\": {}, \"weight_map\": {}}",
                "the index of a safetensors checkpoint in several files",
            ),
            ("Pr\u{fc}fung\r\nzwei".as_bytes(), "a text file"),
            (b"Not Found", "a text file"),
            (b"\xFF\xFE<\0h\0t\0m\0l\0>\0", "an HTML page"),
        ] {
            assert_eq!(named(bytes), name, "{}", bytes.escape_ascii());
        }
        // A character of two bytes that the end of what was read cuts.
        assert_eq!(named(b"abc\xC3"), "a text file");
    }

    #[test]
    fn archives_and_formats_of_other_programs_are_told() {
        let mut tar = vec![0; 512];
        tar[..5].copy_from_slice(b"a.jpg");
        tar[257..262].copy_from_slice(b"ustar");
        let zip = |name: &[u8]| {
            let mut zip = b"PK\x03\x04".to_vec();
            zip.resize(26, 0);
            zip.extend([name.len() as u8, 0, 0, 0]);
            [zip, name.to_vec()].concat()
        };
        for (bytes, name) in [
            (&tar[..], "a tar archive"),
            (&zip(b"archive/data.pkl"), "a zip archive"),
            (&zip(b"weights.npy"), "a NumPy archive (.npz)"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\x1F\x8B\x08\0", "a gzip archive"),
            (b"\xFD7zXZ\0\0", "an xz archive"),
            (b"\x28\xB5\x2F\xFD\x04", "a Zstandard archive"),
            (b"BZh91AY&SY", "a bzip2 archive"),
            (b"\x89HDF\r\n\x1A\n\0", "an HDF5 file (Keras weights, .h5)"),
            (b"GGUF\x03\0\0\0", "a GGUF file"),
            (b"\x1C\0\0\0TFL3\x14\0", "a TensorFlow Lite network"),
            (b"\x93NUMPY\x01\0v\0{'descr'", "a NumPy array (.npy)"),
            (
                b"\x08\x07\x12\x07pytorch\x1A\x051.9.0:\x80",
                "an ONNX network",
            ),
            (
                b"\x08\x08:\xF1\x9D\x01\n\x20\n\x05input\0\x01",
                "an ONNX network",
            ),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "a HEIC image"),
            (b"\0\0\0\x20ftypavif\0\0\0\0avif", "an AVIF image"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0", "a video"),
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF", "a JPEG image"),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", "a safetensors file"),
            (&[0; 64], "a file that begins with only zero bytes"),
            (b"\x01\x02\x03\xFF\xFE\x9C", "nothing known"),
            (b"", "nothing known"),
        ] {
            assert_eq!(named(bytes), name, "{}", bytes.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_beginning_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            what_is(&bytes);
        }
    }
}
