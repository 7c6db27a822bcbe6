//! Decodes image files to 8-bit RGB.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, RgbImage};

use super::error::Error;
use super::file::{Failure, check_length, decoder, format_of, undecodable};
use super::format::Format;
use super::jpeg;
use super::limits::MAX_FILE_BYTES;
use super::pixels::{Image, check_size};
use super::tiff;
use piggyback_task::foreign::FIRST_BYTES;

impl Image {
    /// Reads and decodes a file, see [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Io`], [`Error::FileTooLarge`], and those of
    /// [`decode`](Self::decode).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let bytes = file
            .metadata()
            .map_err(|source| Error::io(path, source))?
            .len();
        check_length(path, bytes)?;
        let mut content = Vec::with_capacity(bytes as usize);
        // The file may grow while it is read, or be a device without a length.
        file.take(MAX_FILE_BYTES)
            .read_to_end(&mut content)
            .map_err(|source| Error::io(path, source))?;
        Self::decode(&content, path)
    }

    /// Decodes the bytes of a jpeg, png, webp, bmp, gif, tiff or pnm. Errors name it `name`.
    ///
    /// The format is detected from the content, not the name. Any channel count and bit depth is
    /// converted to 8-bit RGB: grey is repeated, 16 bits are rounded to 8, transparent pixels are
    /// blended onto white. Of an animation the first frame is used, of a document the first page.
    /// EXIF orientation is applied. Colour profiles are ignored, as in torchvision's loader.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyFile`], [`Error::UnknownFormat`], [`Error::TooManyPixels`] (before any pixel
    /// is allocated) and [`Error::Decode`], also for truncated images.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self, Error> {
        let path = name.as_ref();
        let format = format_of(path, &bytes[..bytes.len().min(FIRST_BYTES)])?;
        // A decoder bug must only fail the file, not the process.
        catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, path)))
            .unwrap_or_else(|_| Err(Failure::gave_up()))
            .map_err(|failure| undecodable(path, format, failure))
    }
}

fn decode_as(format: Format, bytes: &[u8], path: &Path) -> Result<Image, Failure> {
    if format == Format::Jpeg {
        return decode_jpeg(bytes, path);
    }
    if format == Format::Tiff {
        tiff::check(Cursor::new(bytes)).map_err(|reason| Failure::Decoder(reason.into()))?;
    }
    let mut decoder = decoder(format, Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width, height).map_err(Failure::Other)?;
    // A broken EXIF block does not affect the pixels.
    let orientation = decoder.orientation().ok();
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    if let Some(orientation) = orientation {
        decoded.apply_orientation(orientation);
    }
    let (width, height) = (decoded.width(), decoded.height());
    if width == 0 || height == 0 {
        return Err(Failure::Decoder("the image has no pixels".into()));
    }
    let has_alpha =
        decoded.color().has_alpha() && !(format == Format::Bmp && alpha_is_unused(bytes, &decoded));
    let pixels = if has_alpha {
        let premultiplied = format == Format::Tiff && tiff::is_premultiplied(bytes);
        onto_white(decoded.into_rgba8().into_raw(), premultiplied)
    } else {
        decoded.into_rgb8().into_raw()
    };
    Ok(Image::new(width, height, pixels))
}

fn decode_jpeg(bytes: &[u8], path: &Path) -> Result<Image, Failure> {
    let refused = |refusal| Failure::jpeg(path, refusal);
    let header = jpeg::read_header(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    check_size(path, width, height).map_err(Failure::Other)?;
    let pixels = jpeg::decode(&header, bytes).map_err(refused)?;
    oriented(width, height, pixels, header.orientation)
}

/// Applies the orientation in the metadata.
fn oriented(
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    orientation: Option<Orientation>,
) -> Result<Image, Failure> {
    let orientation = match orientation {
        None | Some(Orientation::NoTransforms) => return Ok(Image::new(width, height, pixels)),
        Some(orientation) => orientation,
    };
    let image = RgbImage::from_raw(width, height, pixels);
    let image = image.ok_or_else(|| {
        Failure::Decoder(
            "the decoder did not fill every \
         pixel"
                .into(),
        )
    })?;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    Ok(Image::new(width, height, image.into_rgb8().into_raw()))
}

/// Whether to ignore the alpha channel of a bitmap. All zeros mean an opaque image, as in Windows
/// and Pillow; at 16 bits per pixel alpha is never used.
fn alpha_is_unused(bytes: &[u8], decoded: &DynamicImage) -> bool {
    let bits = bytes
        .get(28..30)
        .map(|bits| u16::from_le_bytes([bits[0], bits[1]]));
    bits == Some(16)
        || decoded
            .as_rgba8()
            .is_some_and(|image| image.pixels().all(|pixel| pixel[3] == 0))
}

/// Blends RGBA pixels onto white, rounded to the nearest value; in place, since an image may be
/// large.
fn onto_white(mut rgba: Vec<u8>, premultiplied: bool) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for pixel in 0..pixels {
        let alpha = u32::from(rgba[4 * pixel + 3]);
        for channel in 0..3 {
            let value = u32::from(rgba[4 * pixel + channel]);
            rgba[3 * pixel + channel] = if premultiplied {
                (value + 255 - alpha).min(255) as u8
            } else {
                ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
            };
        }
    }
    rgba.truncate(3 * pixels);
    rgba.shrink_to_fit();
    rgba
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{
        GrayAlphaImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
    };

    use super::*;
    use crate::image::header::check_header;
    use crate::image::limits::MAX_SIDE;

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Result<Image, Error> {
        Image::decode(bytes, "picture.png")
    }

    /// 3 x 2 pixels, all different.
    fn sample() -> RgbImage {
        RgbImage::from_fn(3, 2, |x, y| Rgb([10 * x as u8, 100 * y as u8, 200]))
    }

    #[test]
    fn lossless_formats_keep_every_pixel_whatever_the_name() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            let image = Image::decode(&encode(sample(), format), "wrong.jpg").unwrap();
            assert_eq!((image.width(), image.height()), (3, 2));
            assert_eq!(image.pixels(), sample().as_raw(), "{format:?}");
        }
    }

    #[test]
    fn grey_of_8_and_16_bits_and_16_bit_colour_become_8_bit_rgb() {
        let grey = ImageBuffer::from_pixel(2, 2, Luma([77_u8]));
        assert_eq!(
            decode(&encode(grey, ImageFormat::Png)).unwrap().pixels(),
            [77; 12]
        );
        let grey = ImageBuffer::from_pixel(2, 1, Luma([77 * 257_u16]));
        assert_eq!(
            decode(&encode(grey, ImageFormat::Png)).unwrap().pixels(),
            [77; 6]
        );
        let color = ImageBuffer::from_pixel(1, 1, Rgb([0_u16, 257 * 9, 65535]));
        assert_eq!(
            decode(&encode(color, ImageFormat::Png)).unwrap().pixels(),
            [0, 9, 255]
        );
    }

    #[test]
    fn transparency_is_laid_onto_white() {
        let image = RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 100, 255, [0, 128, 255][x as usize]]));
        let decoded = decode(&encode(image, ImageFormat::Png)).unwrap();
        assert_eq!(
            decoded.pixels(),
            [255, 255, 255, 127, 177, 255, 0, 100, 255]
        );
        let image = GrayAlphaImage::from_pixel(1, 1, LumaA([0, 51]));
        assert_eq!(
            decode(&encode(image, ImageFormat::Png)).unwrap().pixels(),
            [204; 3]
        );
        let image = ImageBuffer::from_pixel(1, 1, Rgba([0_u16, 0, 0, 0]));
        assert_eq!(
            decode(&encode(image, ImageFormat::Png)).unwrap().pixels(),
            [255; 3]
        );
    }

    /// A bitmap of one row with a V5 header and 8 bits for each of red, green, blue and alpha.
    fn bitmap(pixels: &[[u8; 4]]) -> Vec<u8> {
        let mut bytes = b"BM\0\0\0\0\0\0\0\0\x8A\0\0\0".to_vec();
        for number in [
            124,
            pixels.len() as u32,
            1,
            1 | 32 << 16,
            3,
            0,
            0,
            0,
            0,
            0,
            0xFF_0000,
            0xFF00,
            0xFF,
            0xFF00_0000,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(14 + 124, 0);
        bytes.extend(pixels.as_flattened());
        bytes
    }

    #[test]
    fn a_bitmap_with_zero_alpha_everywhere_is_opaque() {
        let opaque = decode(&bitmap(&[[1, 2, 3, 0], [4, 5, 6, 0]])).unwrap();
        assert_eq!(opaque.pixels(), [3, 2, 1, 6, 5, 4]);
        let transparent = decode(&bitmap(&[[1, 2, 3, 0], [4, 5, 6, 255]])).unwrap();
        assert_eq!(transparent.pixels(), [255, 255, 255, 6, 5, 4]);
    }

    /// A TIFF of one pixel, 8 bits a sample, with one more tag of 16 bits.
    fn one_pixel_tiff(samples: &[u8], (tag, value): (u16, u16)) -> Vec<u8> {
        let bits = if samples.len() == 4 {
            (4, 200)
        } else {
            (3, 200)
        };
        let mut tags = vec![
            (256, 1, 1),
            (257, 1, 1),
            (258, bits.0, bits.1),
            (259, 1, 1),
            (262, 1, 2),
            (273, 1, 220),
            (277, 1, samples.len() as u32),
            (278, 1, 1),
            (279, 1, samples.len() as u32),
        ];
        tags.retain(|(other, ..)| *other != tag);
        tags.push((tag, 1, u32::from(value)));
        tags.sort();
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((tags.len() as u16).to_le_bytes());
        for (tag, count, value) in tags {
            bytes.extend([tag, 3_u16].map(u16::to_le_bytes).as_flattened());
            bytes.extend([count, value].map(u32::to_le_bytes).as_flattened());
        }
        bytes.resize(200, 0);
        bytes.extend([8, 0].repeat(10));
        bytes.extend(samples);
        bytes
    }

    #[test]
    fn tiffs_are_read_or_refused_by_name() {
        let (premultiplied, plain) = ((338, 1), (338, 2));
        let pixels = |samples: &[u8], tag| {
            decode(&one_pixel_tiff(samples, tag))
                .unwrap()
                .pixels()
                .to_vec()
        };
        assert_eq!(pixels(&[10, 20, 30], (274, 1)), [10, 20, 30]);
        assert_eq!(pixels(&[100, 0, 50, 100], premultiplied), [255, 155, 205]);
        assert_eq!(pixels(&[255, 0, 0, 0], plain), [255, 255, 255]);
        let told = |tag| {
            decode(&one_pixel_tiff(&[1, 2, 3], tag))
                .unwrap_err()
                .to_string()
        };
        assert!(told((266, 2)).contains("bits in reverse order"));
        assert!(told((254, 1)).contains("preview"));
        for (tag, reason) in [
            ((259, 7), "jpeg compression"),
            ((259, 4), "fax compression"),
            ((262, 3), "palette"),
            ((262, 6), "YCbCr"),
        ] {
            assert!(told(tag).contains(reason), "{}", told(tag));
            assert!(told(tag).contains("convert it to png"));
        }
    }

    #[test]
    fn pnms_are_read() {
        let pixels = |bytes: &[u8]| decode(bytes).unwrap().pixels().to_vec();
        assert_eq!(pixels(b"P6\n# made by hand\n1 1\n255\nabc"), *b"abc");
        assert_eq!(
            pixels(b"P2 # grey\n2 1\n15\n0 15\n"),
            [0, 0, 0, 255, 255, 255]
        );
        assert_eq!(pixels(b"P5 1 1 65535\n\x80\x80"), [128; 3]);
        assert_eq!(pixels(b"P1 2 1 1 0"), [0, 0, 0, 255, 255, 255]);
        assert!(decode(b"P6 2 2 255\nabc").is_err());
    }

    /// What the header shows is refused as decoding refuses it.
    #[test]
    fn headers_are_checked_as_decoding_checks_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let noise = [
            oriented_jpeg(6),
            encode(sample(), ImageFormat::Gif),
            bitmap(&[[1, 2, 3, 4]]),
        ];
        for good in noise {
            std::fs::write(&path, good).unwrap();
            check_header(&path).unwrap();
        }
        for bad in [
            b"".to_vec(),
            b"no image".to_vec(),
            png_header(100_000, 100_000),
            oriented_jpeg(1)[..40].to_vec(),
            one_pixel_tiff(&[1, 2, 3], (254, 1)),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let told = |error: Error| error.to_string();
            assert_eq!(
                told(check_header(&path).unwrap_err()),
                told(Image::open(&path).unwrap_err())
            );
        }
    }

    /// Left half red, right half blue, within what a lossy format changes.
    fn assert_red_blue(bytes: &[u8], [left, right]: [[u8; 3]; 2]) {
        let image = decode(bytes).unwrap();
        assert_eq!((image.width(), image.height()), (16, 8));
        for (i, pixel) in image.pixels().chunks(3).enumerate() {
            let expected = match i % 16 {
                0..6 => left,
                10..16 => right,
                _ => continue,
            };
            for (&value, expected) in pixel.iter().zip(expected) {
                assert!(value.abs_diff(expected) < 16, "{i}: {pixel:?}");
            }
        }
    }

    /// Made with Pillow by `testdata/make.py`.
    #[test]
    fn kinds_that_other_programs_write() {
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        assert_red_blue(include_bytes!("testdata/cmyk.jpg"), [red, blue]);
        assert_red_blue(include_bytes!("testdata/progressive.jpg"), [red, blue]);
        assert_red_blue(include_bytes!("testdata/palette.png"), [red, blue]);
        assert_red_blue(
            include_bytes!("testdata/palette-transparent.png"),
            [[255; 3], blue],
        );
        assert_red_blue(include_bytes!("testdata/one-bit.png"), [[0; 3], [255; 3]]);
        assert_red_blue(include_bytes!("testdata/animated.gif"), [red, blue]);
        assert_red_blue(include_bytes!("testdata/animated.webp"), [red, blue]);
        assert_red_blue(include_bytes!("testdata/lossy.webp"), [red, blue]);
    }

    /// A jpeg of 16 x 8 pixels, left half black, whose EXIF block gives an orientation.
    fn oriented_jpeg(orientation: u8) -> Vec<u8> {
        let image = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 0 } else { 255 }; 3]));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 100)
            .encode_image(&image)
            .unwrap();
        let mut exif =
            b"\xFF\xE1\x00\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        exif.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
        jpeg.splice(2..2, exif);
        jpeg
    }

    #[test]
    fn exif_orientation_is_applied() {
        // The corner that is black in the upright image, for each of the eight orientations.
        let black = [
            [true, false, true, false],
            [false, true, false, true],
            [false, true, false, true],
            [true, false, true, false],
            [true, true, false, false],
            [true, true, false, false],
            [false, false, true, true],
            [false, false, true, true],
        ];
        for (orientation, black) in (1..).zip(black) {
            let image = decode(&oriented_jpeg(orientation)).unwrap();
            let (width, height) = (image.width() as usize, image.height() as usize);
            assert_eq!(
                (width, height),
                if orientation < 5 { (16, 8) } else { (8, 16) }
            );
            let corners = [0, width - 1, (height - 1) * width, height * width - 1];
            assert_eq!(
                corners.map(|i| image.pixels()[i * 3] < 128),
                black,
                "{orientation}"
            );
        }
        assert_eq!(
            decode(&oriented_jpeg(99)).unwrap().width(),
            16,
            "nonsense is ignored"
        );
    }

    /// The first 33 bytes of a PNG.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend(width.to_be_bytes());
        chunk.extend(height.to_be_bytes());
        chunk.extend([8, 2, 0, 0, 0]);
        let mut crc = u32::MAX;
        for &byte in &chunk {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0xEDB8_8320
                } else {
                    crc >> 1
                };
            }
        }
        [
            b"\x89PNG\r\n\x1A\n\0\0\0\x0D".to_vec(),
            chunk,
            (!crc).to_be_bytes().to_vec(),
        ]
        .concat()
    }

    #[test]
    fn a_pixel_bomb_is_refused_by_its_header() {
        for (width, height) in [(100_000, 100_000), (MAX_SIDE + 1, 1), (16_000, 16_000)] {
            let mut bomb = png_header(width, height);
            bomb.extend(b"\0\0\0\0IDAT\x35\xAF\x06\x1E");
            let error = decode(&bomb).unwrap_err();
            assert!(matches!(error, Error::TooManyPixels { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("picture.png: {width}x{height}"))
            );
        }
    }

    #[test]
    fn truncated_images_are_refused() {
        let noise = RgbImage::from_fn(64, 64, |x, y| {
            Rgb([((x * 37) ^ (y * 91)) as u8, x as u8, y as u8])
        });
        let formats = ["Jpeg", "Png", "WebP", "Bmp", "Gif"].into_iter().zip([
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Gif,
        ]);
        for (name, format) in formats {
            let bytes = encode(noise.clone(), format);
            decode(&bytes).unwrap();
            for keep in [bytes.len() / 2, bytes.len() * 9 / 10, 40, 20] {
                let error = decode(&bytes[..keep]).unwrap_err();
                assert!(
                    matches!(error, Error::Decode { .. }),
                    "{name} {keep}: {error}"
                );
            }
        }
        // The end marker of a thumbnail is not the image's.
        let mut jpeg = oriented_jpeg(1);
        jpeg.splice(2..2, *b"\xFF\xE2\x00\x06\xFF\xD8\xFF\xD9");
        decode(&jpeg).unwrap();
        assert!(decode(&jpeg[..jpeg.len() - 2]).is_err());
    }

    #[test]
    fn what_is_no_image_is_named() {
        let error = decode(b"").unwrap_err();
        assert!(matches!(error, Error::EmptyFile { .. }), "{error}");
        let error = decode(b"GIF87").unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
        let told = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        for (bytes, reason) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"[..],
                "git lfs pull",
            ),
            (b"<!doctype html><title>404</title>", "an HTML page"),
            (b"{\"error\": 404}", "a JSON document"),
            (
                b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                "convert it to png",
            ),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "a HEIC image"),
            (b"%PDF-1.4", "a PDF document"),
            (b"\x01\x02\xFF\xFE", "replace or remove it"),
        ] {
            let error = told(bytes);
            assert!(
                error.starts_with("picture.png: not an image of a supported format")
                    && error.contains(reason),
                "{error}"
            );
        }
        let error = Image::open("no-such.png").unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn damaged_files_never_panic(
            which in 0_usize..5,
            position in 0.0..1.0,
            value: u8,
        ) {
            let formats = [
                ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif,
            ];
            let mut bytes = encode(sample(), formats[which]);
            let position = (position * bytes.len() as f64) as usize;
            bytes[position] = value;
            if let Ok(image) = decode(&bytes) {
                proptest::prop_assert_eq!(
                    image.pixels().len() as u64,
                    u64::from(image.width()) * u64::from(image.height()) * 3
                );
            }
        }
    }
}
