//! Jpegs of every arrangement, made here, beside a plain reference and beside Pillow.

pub(crate) mod cases;
pub(crate) mod encoder;
mod reference;

use piggyback::image::Image;

/// Coefficients that are stored in any way give the pixels that a plain decoding of them gives.
#[test]
fn every_arrangement_gives_the_pixels_of_the_coefficients() {
    for seed in 0..600 {
        let case = cases::case(seed);
        let name = format!("{seed}.jpg");
        let image = Image::decode(&case.encode(), &name)
            .unwrap_or_else(|error| panic!("{error}: {case:?}"));
        assert_eq!(
            (image.width() as usize, image.height() as usize),
            (case.width, case.height),
            "{name}"
        );
        let expected = reference::pixels(&case);
        let worst = image
            .pixels()
            .iter()
            .zip(&expected)
            .map(|(&got, &expected)| (f64::from(got) - expected).abs())
            .fold(0.0, f64::max);
        // Integers of 13 bits, and three roundings.
        assert!(worst < 4.0, "{name}: {worst}");
    }
}

/// A file that is cut anywhere after its header is refused, with its name; so is one cut and given an end marker.
#[test]
fn files_that_end_early_are_refused() {
    for seed in 0..60 {
        let mut case = cases::case(seed);
        case.end = b"\xFF\xD9".to_vec();
        let bytes = case.encode();
        for share in [3, 5, 7, 9] {
            let cut = &bytes[..bytes.len() * share / 10];
            let error = Image::decode(cut, "cut.jpg").unwrap_err().to_string();
            assert!(error.starts_with("cut.jpg: "), "{error}");
        }
        let scan = bytes
            .windows(2)
            .position(|pair| pair == [0xFF, 0xDA])
            .unwrap();
        let ended = [&bytes[..scan + 16], b"\xFF\xD9"].concat();
        if bytes.len() > scan + 400 {
            Image::decode(&ended, "cut.jpg").unwrap_err();
        }
    }
}

/// What the decoder does not read is said, and never guessed.
#[test]
fn what_is_not_read_is_refused_by_name() {
    let plain = (0..)
        .map(cases::case)
        .find(|case| case.frame == 0xC0 && case.components.len() == 3);
    let plain = plain.unwrap();
    let refused = |change: &dyn Fn(&mut encoder::Jpeg)| {
        let mut case = plain.clone();
        change(&mut case);
        Image::decode(&case.encode(), "odd.jpg")
            .unwrap_err()
            .to_string()
    };
    for (frame, reason) in [
        (0xC3, "lossless"),
        (0xC5, "hierarchical"),
        (0xC9, "arithmetic coding"),
        (0xCA, "arithmetic coding"),
    ] {
        let error = refused(&|case| case.frame = frame);
        assert!(
            error.starts_with("odd.jpg: ") && error.contains(reason),
            "{error}"
        );
    }
    let error = refused(&|case| case.precision = 12);
    assert!(error.contains("12 bits per sample"), "{error}");
    let error = refused(&|case| case.tables.truncate(1));
    assert!(error.contains("quantisation table"), "{error}");
    let error = refused(&|case| case.scans.clear());
    assert!(error.contains("ends before its image data"), "{error}");
    // Height 0: given after the scan.
    let mut bytes = plain.encode();
    let frame = bytes
        .windows(4)
        .position(|head| head == [0xFF, 0xC0, 0, 17])
        .unwrap();
    bytes[frame + 5..frame + 7].fill(0);
    let error = Image::decode(&bytes, "odd.jpg").unwrap_err().to_string();
    assert!(error.contains("DNL"), "{error}");
}

const PILLOW: &str = "
import sys, pathlib
import numpy as np
from PIL import Image
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.jpg')):
    expected = np.asarray(Image.open(path).convert('RGB'))
    got = np.frombuffer(path.with_suffix('.rgb').read_bytes(), np.uint8).reshape(expected.shape)
    assert (got == expected).all(), path
";

/// The pixels are Pillow's (libjpeg-turbo's) to the bit.
#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_pillow_reads_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..1000 {
        let path = folder.path().join(format!("{seed}.jpg"));
        std::fs::write(&path, cases::case(seed).encode()).unwrap();
        std::fs::write(
            path.with_extension("rgb"),
            Image::open(&path).unwrap().pixels(),
        )
        .unwrap();
    }
    let status = piggyback_testing::peer_python()
        .args(["-c", PILLOW])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}
