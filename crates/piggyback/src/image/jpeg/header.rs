//! A jpeg's header up to the first scan: size, components, colour, orientation. Unsupported
//! features give a specific error.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use image::metadata::Orientation;

/// Why a header is refused.
pub(in crate::image) enum Refusal {
    Io(io::Error),
    /// To follow "cannot be decoded as jpeg: ".
    Reason(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Reason(TRUNCATED.into()),
            _ => Self::Io(error),
        }
    }
}

pub(super) const TRUNCATED: &str = "the file is truncated";

/// The colour space of an image's components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Grey,
    Rgb,
    YCbCr,
    /// Stored inverted, as every known program writes it.
    Cmyk,
    /// As `Cmyk`, with the first three stored as luma and chroma.
    Ycck,
}

/// A component: its number of blocks per unit (MCU) of the image, and the position of its
/// quantisation values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) horizontal: u8,
    pub(super) vertical: u8,
    pub(super) table: u8,
}

/// The frame's header, and what else the decoder needs.
#[derive(Clone, Debug)]
pub(in crate::image) struct Header {
    pub(in crate::image) width: u16,
    pub(in crate::image) height: u16,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    pub(super) color: Color,
    pub(in crate::image) orientation: Option<Orientation>,
}

pub(super) mod marker {
    pub(in crate::image::jpeg) const SOF0: u8 = 0xC0;
    pub(in crate::image::jpeg) const SOF1: u8 = 0xC1;
    pub(in crate::image::jpeg) const SOF2: u8 = 0xC2;
    pub(in crate::image::jpeg) const DHT: u8 = 0xC4;
    pub(in crate::image::jpeg) const DAC: u8 = 0xCC;
    pub(in crate::image::jpeg) const RST0: u8 = 0xD0;
    pub(in crate::image::jpeg) const RST7: u8 = 0xD7;
    pub(in crate::image::jpeg) const SOI: u8 = 0xD8;
    pub(in crate::image::jpeg) const EOI: u8 = 0xD9;
    pub(in crate::image::jpeg) const SOS: u8 = 0xDA;
    pub(in crate::image::jpeg) const DQT: u8 = 0xDB;
    pub(in crate::image::jpeg) const DRI: u8 = 0xDD;
    pub(in crate::image::jpeg) const APP0: u8 = 0xE0;
    pub(in crate::image::jpeg) const APP1: u8 = 0xE1;
    pub(in crate::image::jpeg) const APP14: u8 = 0xEE;
    pub(in crate::image::jpeg) const TEM: u8 = 0x01;
}

/// Reads up to the first scan. Large segments without relevant data are skipped by seeking.
pub(in crate::image) fn read(mut reader: impl Read + Seek) -> Result<Header, Refusal> {
    let mut start = [0; 2];
    reader.read_exact(&mut start)?;
    if start != [0xFF, marker::SOI] {
        return Err(reason("it has no start marker"));
    }
    let mut frame = None;
    let mut hints = Hints::default();
    loop {
        let marker = next_marker(&mut reader)?;
        match marker {
            marker::SOS => break,
            marker::EOI => return Err(reason("it ends before its image data")),
            marker::SOI => {
                return Err(reason("it has a second start marker before its image data"));
            }
            marker::RST0..=marker::RST7 | marker::TEM => continue,
            _ => {}
        }
        let length = segment_length(&mut reader)?;
        match marker {
            marker::SOF0..=0xCF if !matches!(marker, marker::DHT | marker::DAC | 0xC8) => {
                if frame.is_some() {
                    return Err(reason(
                        "it has two frames (hierarchical jpegs are not supported)",
                    ));
                }
                frame = Some(Frame::parse(marker, &segment(&mut reader, length)?)?);
            }
            marker::APP0 | marker::APP1 | marker::APP14 => {
                hints.see(marker, &segment(&mut reader, length)?);
            }
            _ => {
                reader.seek(SeekFrom::Current(length as i64))?;
            }
        }
    }
    let frame = frame.ok_or_else(|| reason("it has image data without a frame header"))?;
    let color = hints.color(&frame.components)?;
    Ok(Header {
        width: frame.width,
        height: frame.height,
        progressive: frame.progressive,
        components: frame.components,
        color,
        orientation: hints.orientation,
    })
}

pub(super) fn reason(text: impl Into<String>) -> Refusal {
    Refusal::Reason(text.into())
}

/// The next marker's code. Other bytes before it are skipped, like in libjpeg.
fn next_marker(reader: &mut impl Read) -> Result<u8, Refusal> {
    let mut byte = [0];
    loop {
        while byte[0] != 0xFF {
            reader.read_exact(&mut byte)?;
        }
        // Any number of fill bytes may stand before the code.
        while byte[0] == 0xFF {
            reader.read_exact(&mut byte)?;
        }
        if byte[0] != 0 {
            return Ok(byte[0]);
        }
    }
}

/// Number of bytes of a segment after its length.
fn segment_length(reader: &mut impl Read) -> Result<usize, Refusal> {
    let mut length = [0; 2];
    reader.read_exact(&mut length)?;
    usize::from(u16::from_be_bytes(length))
        .checked_sub(2)
        .ok_or_else(|| reason("a segment is shorter than its own length"))
}

fn segment(reader: &mut impl Read, length: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

struct Frame {
    width: u16,
    height: u16,
    progressive: bool,
    components: Vec<Component>,
}

impl Frame {
    fn parse(marker: u8, bytes: &[u8]) -> Result<Self, Refusal> {
        let progressive = match marker {
            marker::SOF0 | marker::SOF1 => false,
            marker::SOF2 => true,
            0xC3 => return Err(reason("lossless jpegs are not supported")),
            0xC9 | 0xCA => return Err(reason("jpegs with arithmetic coding are not supported")),
            0xCB => return Err(reason("lossless jpegs are not supported")),
            _ => return Err(reason("hierarchical jpegs are not supported")),
        };
        let &[precision, h1, h0, w1, w0, count, ref components @ ..] = bytes else {
            return Err(reason("its frame header is too short"));
        };
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if precision != 8 {
            return Err(reason(format!(
                "{precision} bits per sample are not supported (only 8)"
            )));
        }
        if height == 0 {
            return Err(reason(
                "jpegs that give their height after the image (DNL) are not supported",
            ));
        }
        if width == 0 {
            return Err(reason("its width is zero"));
        }
        if components.len() != 3 * usize::from(count) {
            return Err(reason(
                "its frame header's length does not match its number of components",
            ));
        }
        let components: Vec<Component> = components
            .chunks_exact(3)
            .map(|bytes| Component {
                id: bytes[0],
                horizontal: bytes[1] >> 4,
                vertical: bytes[1] & 15,
                table: bytes[2],
            })
            .collect();
        for (index, component) in components.iter().enumerate() {
            let factors = 1..=4;
            if !factors.contains(&component.horizontal) || !factors.contains(&component.vertical) {
                return Err(reason(format!(
                    "sampling factors {}x{} are invalid (1 to 4 each)",
                    component.horizontal, component.vertical
                )));
            }
            if component.table > 3 {
                return Err(reason(format!(
                    "there is no quantisation table {}",
                    component.table
                )));
            }
            if components[..index]
                .iter()
                .any(|other| other.id == component.id)
            {
                return Err(reason("two of its components have the same name"));
            }
        }
        Ok(Self {
            width,
            height,
            progressive,
            components,
        })
    }
}

/// Colour and orientation from application segments.
#[derive(Default)]
struct Hints {
    jfif: bool,
    adobe: Option<u8>,
    orientation: Option<Orientation>,
}

impl Hints {
    fn see(&mut self, marker: u8, bytes: &[u8]) {
        match (marker, bytes) {
            (marker::APP0, [b'J', b'F', b'I', b'F', 0, ..]) if bytes.len() >= 14 => {
                self.jfif = true
            }
            (
                marker::APP14,
                [
                    b'A',
                    b'd',
                    b'o',
                    b'b',
                    b'e',
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    transform,
                    ..,
                ],
            ) => {
                self.adobe = Some(*transform);
            }
            // A broken EXIF block is ignored; of several the first counts.
            (marker::APP1, [b'E', b'x', b'i', b'f', 0, 0, exif @ ..])
                if self.orientation.is_none() =>
            {
                self.orientation = Orientation::from_exif_chunk(exif);
            }
            _ => {}
        }
    }

    /// libjpeg's rule: a JFIF marker means `YCbCr`, else Adobe's decides, else the components'
    /// names.
    fn color(&self, components: &[Component]) -> Result<Color, Refusal> {
        let ids: Vec<u8> = components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => Ok(Color::Grey),
            ([_, _, _], _) if self.jfif => Ok(Color::YCbCr),
            ([_, _, _], Some(0)) => Ok(Color::Rgb),
            ([_, _, _], Some(_)) => Ok(Color::YCbCr),
            ([b'R', b'G', b'B'], None) => Ok(Color::Rgb),
            ([_, _, _], None) => Ok(Color::YCbCr),
            ([_, _, _, _], None | Some(0)) => Ok(Color::Cmyk),
            ([_, _, _, _], Some(_)) => Ok(Color::Ycck),
            _ => Err(reason(format!(
                "{} colour components are not supported",
                ids.len()
            ))),
        }
    }
}
