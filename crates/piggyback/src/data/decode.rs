//! From the bytes of an image file to 8-bit RGB.

use std::fs::File;
use std::io::{BufRead, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, ImageResult, Limits, RgbImage};

use super::format::{FORMATS, Format};
use super::header::{check_length, format_of};
use super::jpeg::{self, Refusal};
use super::pixels::{MAX_PIXELS, check_size};
use super::{Error, Image};
use crate::foreign::{FIRST_BYTES, what_is};

/// Largest image file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

impl Image {
    /// Reads and decodes a file as [`decode`](Self::decode) does.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::FileTooLarge`], and those of [`decode`](Self::decode).
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

    /// Decodes the bytes of a jpeg, png, webp, bmp, gif, tiff or pnm; `name` is what errors call it.
    ///
    /// The format is detected by content, whatever the name says. Any channel count and bit depth comes
    /// out as 8-bit RGB: grey is repeated, 16 bits are rounded to 8, transparent pixels are laid onto white.
    /// Of an animation the first frame is taken, of a document the first page. EXIF orientation is applied. Colour
    /// profiles are ignored, as by torchvision's loader.
    ///
    /// # Errors
    /// [`Error::EmptyFile`], [`Error::UnknownFormat`], [`Error::TooManyPixels`] (before any pixel is
    /// allocated) and [`Error::Decode`], also for truncated images.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self, Error> {
        let path = name.as_ref();
        let format = format_of(path, &bytes[..bytes.len().min(FIRST_BYTES)])?;
        // A decoder's bug met by a hostile file must cost that file, not the process.
        catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, path)))
            .unwrap_or_else(|_| Err(Failure::gave_up()))
            .map_err(|failure| undecodable(path, format, failure))
    }
}

/// Why a file of a known format gives no image.
pub(super) enum Failure {
    /// What is an error by itself, as the size.
    Other(Error),
    /// What the decoder said.
    Decoder(String),
}

impl Failure {
    /// For a decoder that panicked.
    pub(super) fn gave_up() -> Self {
        Self::Decoder("the decoder gave up".into())
    }

    pub(super) fn jpeg(path: &Path, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Io(source) => Self::Other(Error::io(path, source)),
            Refusal::Reason(reason) => Self::Decoder(reason),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Decoder(error.to_string())
    }
}

/// The error of a file of a known format.
pub(super) fn undecodable(path: &Path, format: Format, failure: Failure) -> Error {
    match failure {
        Failure::Other(error) => error,
        Failure::Decoder(reason) => Error::Decode {
            path: path.into(),
            format: format.name(),
            reason,
        },
    }
}

/// The error of a file of no known format.
pub(super) fn unknown(path: &Path, first_bytes: &[u8]) -> Error {
    let foreign = what_is(first_bytes);
    Error::UnknownFormat {
        path: path.into(),
        supported: FORMATS,
        found: foreign.map_or("unknown data", |foreign| foreign.name),
        advice: foreign.map_or("replace or remove it", |foreign| foreign.advice),
    }
}

/// Reads a header with the `image` crate.
pub(super) fn decoder<'a>(
    format: Format,
    reader: impl BufRead + Seek + 'a,
) -> ImageResult<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(reader, format.in_image_crate());
    // Room for 16-bit RGBA and the decoder's own buffers.
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 12);
    reader.limits(limits);
    reader.into_decoder()
}

fn decode_as(format: Format, bytes: &[u8], path: &Path) -> Result<Image, Failure> {
    if format == Format::Jpeg {
        return decode_jpeg(bytes, path);
    }
    let mut decoder = decoder(format, Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width, height).map_err(Failure::Other)?;
    // A broken EXIF block says nothing about the pixels.
    let orientation = decoder.orientation().ok();
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    if let Some(orientation) = orientation {
        decoded.apply_orientation(orientation);
    }
    let (width, height) = (decoded.width(), decoded.height());
    if width == 0 || height == 0 {
        return Err(Failure::Decoder("the image has no pixels".into()));
    }
    let pixels = if decoded.color().has_alpha() {
        onto_white(decoded.into_rgba8().into_raw())
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
    Ok(oriented(width, height, pixels, header.orientation))
}

/// Turns pixels as their metadata says they are to be seen.
fn oriented(width: u32, height: u32, pixels: Vec<u8>, orientation: Option<Orientation>) -> Image {
    let as_stored = matches!(orientation, None | Some(Orientation::NoTransforms));
    let pixels = match RgbImage::from_raw(width, height, pixels) {
        Some(image) if !as_stored => {
            let mut image = DynamicImage::ImageRgb8(image);
            image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
            let (width, height) = (image.width(), image.height());
            return Image::new(width, height, image.into_rgb8().into_raw());
        }
        image => image.map(RgbImage::into_raw).unwrap_or_default(),
    };
    Image::new(width, height, pixels)
}

/// Lays RGBA pixels onto white, rounded to the nearest value; in place, since an image may be large.
fn onto_white(mut rgba: Vec<u8>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for pixel in 0..pixels {
        let alpha = u32::from(rgba[4 * pixel + 3]);
        for channel in 0..3 {
            let value = u32::from(rgba[4 * pixel + channel]);
            rgba[3 * pixel + channel] = ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
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

    use super::super::pixels::MAX_SIDE;
    use super::*;

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
        let error = decode(b"P6 is no picture").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("picture.png: not an image of a supported format")
        );
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
