//! A QR code: made of a text, or read module by module from a picture of it; and drawn for a terminal, as SVG and as PNG.
//! What a picture says is never decoded, so that drawing it anew cannot change what it says. No file is touched here, and
//! nothing is asked for.

use std::fmt::Write as _;
use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};
use qrcode::{Color, QrCode};

use crate::limits;

/// Its modules; true is dark. The quiet zone is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    width: usize,
    dark: Vec<bool>,
}

/// Why a picture cannot be drawn anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no PNG that can be read: {0}")]
    Png(String),
    #[error("it has more than {} pixels a side", limits::QR_PIXELS)]
    Large,
    #[error("it shows no bare QR code: {0}")]
    Odd(&'static str),
}

/// Modules of light around the code, as the standard has it.
const QUIET: usize = 4;
/// A finder pattern's width in modules.
const FINDER: usize = 7;
/// Bytes of a module in a row of our PNG, which has eight pixels in a byte; and rows of a module.
const PNG_BYTES: usize = 2;
const PNG_ROWS: usize = PNG_BYTES * 8;

impl Code {
    /// That says this. None if the text is too long for any code.
    pub fn of(text: &str) -> Option<Code> {
        let code = QrCode::new(text).ok()?;
        Some(Code {
            width: code.width(),
            dark: code.to_colors().iter().map(|color| *color == Color::Dark).collect(),
        })
    }

    /// From a PNG of the bare code, with or without a quiet zone.
    pub fn read(png: &[u8]) -> Result<Code, Unreadable> {
        let picture = Picture::read(png)?;
        let frame = picture.frame()?;
        let width = frame.modules(&picture)?;
        let module = |at: usize| frame.module(&picture, at % width, at / width, width);
        let dark = (0..width * width).map(module).collect::<Option<_>>();
        let code = Code {
            width,
            dark: dark.ok_or(Unreadable::Odd("its modules are no even grid"))?,
        };
        if code.has_patterns() {
            Ok(code)
        } else {
            Err(Unreadable::Odd(
                "its finder or timing patterns are not where they belong",
            ))
        }
    }

    fn dark(&self, x: usize, y: usize) -> bool {
        self.dark[y * self.width + x]
    }

    /// With the quiet zone counted in, which is light.
    fn dark_within(&self, x: usize, y: usize) -> bool {
        let within = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.width);
        matches!((within(x), within(y)), (Some(x), Some(y)) if self.dark(x, y))
    }

    fn side(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// The three finder patterns with light around them, and the two timing patterns between them.
    fn has_patterns(&self) -> bool {
        let last = self.width - FINDER;
        let finders = [(0, 0), (last, 0), (0, last)];
        let timing =
            |at: usize| self.dark(at, 6) == (at.is_multiple_of(2)) && self.dark(6, at) == (at.is_multiple_of(2));
        finders.iter().all(|(x, y)| self.has_finder(*x, *y)) && (FINDER + 1..last - 1).all(timing)
    }

    fn has_finder(&self, left: usize, top: usize) -> bool {
        let around = |at: usize| at.saturating_sub(1)..(at + FINDER + 1).min(self.width);
        let ring = |x: usize, y: usize| x.abs_diff(left + 3).max(y.abs_diff(top + 3));
        around(left).all(|x| around(top).all(|y| self.dark(x, y) != [2, 4].contains(&ring(x, y))))
    }

    /// Two rows of modules in a line. With `colour` it is black on white whatever the terminal's colours are; without, the
    /// terminal is taken to be dark, as most are, and its text draws the light.
    pub fn terminal(&self, colour: bool) -> String {
        let mut text = String::new();
        let ink = |x, y| self.dark_within(x, y) == colour;
        for y in (0..self.side()).step_by(2) {
            let line = (0..self.side()).map(|x| match (ink(x, y), ink(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
            // Of 256 colours these two are the same everywhere; a theme may change the first 16.
            text.push_str(if colour { "\x1b[38;5;16;48;5;231m" } else { "" });
            text.extend(line);
            text.push_str(if colour { "\x1b[0m\n" } else { "\n" });
        }
        text
    }

    /// One path, a module a unit.
    pub fn svg(&self) -> String {
        let mut path = String::new();
        for y in 0..self.width {
            let mut x = 0;
            while x < self.width {
                let run = (x..self.width).take_while(|at| self.dark(*at, y)).count();
                if run > 0 {
                    write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET)
                        .expect("a String takes all that is written");
                }
                x += run + 1;
            }
        }
        let side = self.side();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>\n"
        )
    }

    pub fn png(&self) -> Vec<u8> {
        let row = |y| (0..self.side()).flat_map(move |x| [if self.dark_within(x, y) { 0 } else { 0xff }; PNG_BYTES]);
        let rows: Vec<u8> = (0..self.side() * PNG_ROWS).flat_map(|y| row(y / PNG_ROWS)).collect();
        let side = u32::try_from(self.side() * PNG_ROWS).expect("a code has 177 modules at most");
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, side, side);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        let mut writer = encoder.write_header().expect("a Vec takes all that is written");
        writer.write_image_data(&rows).expect("the rows are those of the head");
        writer.finish().expect("a Vec takes all that is written");
        file
    }
}

/// Its pixels; true is dark.
struct Picture {
    width: usize,
    height: usize,
    dark: Vec<bool>,
}

/// What encloses all that is dark: the finder patterns stand at three of its corners.
struct Frame {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable::Png(error.to_string())
}

impl Picture {
    fn read(png: &[u8]) -> Result<Picture, Unreadable> {
        let mut decoder = Decoder::new(Cursor::new(png));
        decoder.set_transformations(Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(unreadable)?;
        let info = reader.info();
        if info.width.max(info.height) > limits::QR_PIXELS {
            return Err(Unreadable::Large);
        }
        let size = reader.output_buffer_size().ok_or(Unreadable::Large)?;
        let mut bytes = vec![0; size];
        let frame = reader.next_frame(&mut bytes).map_err(unreadable)?;
        let pixel = frame.color_type.samples();
        let has_alpha = matches!(frame.color_type, ColorType::GrayscaleAlpha | ColorType::Rgba);
        bytes.truncate(frame.buffer_size());
        Ok(Picture {
            width: frame.width as usize,
            height: frame.height as usize,
            dark: bytes
                .chunks_exact(pixel)
                .map(|pixel| is_dark(pixel, has_alpha))
                .collect(),
        })
    }

    fn dark(&self, x: usize, y: usize) -> bool {
        self.dark[y * self.width + x]
    }

    fn frame(&self) -> Result<Frame, Unreadable> {
        let row = |y: &usize| (0..self.width).any(|x| self.dark(x, *y));
        let column = |x: &usize| (0..self.height).any(|y| self.dark(*x, y));
        let (top, bottom) = ((0..self.height).find(row), (0..self.height).rfind(row));
        let (left, right) = ((0..self.width).find(column), (0..self.width).rfind(column));
        let (Some(left), Some(right), Some(top), Some(bottom)) = (left, right, top, bottom) else {
            return Err(Unreadable::Odd("nothing in it is dark"));
        };
        Ok(Frame {
            left,
            top,
            width: right - left + 1,
            height: bottom - top + 1,
        })
    }
}

/// What can be seen through is as light as paper.
fn is_dark(pixel: &[u8], has_alpha: bool) -> bool {
    let (colours, alpha) = match pixel.split_last() {
        Some((alpha, colours)) if has_alpha => (colours, *alpha),
        _ => (pixel, u8::MAX),
    };
    let sum: usize = colours.iter().map(|colour| usize::from(*colour)).sum();
    alpha >= 128 && sum < 128 * colours.len()
}

impl Frame {
    /// How many modules wide the code is: the upper edge of its first finder pattern has seven of them. A picture that
    /// was scaled may be a pixel off, so the nearest width that codes have is taken.
    fn modules(&self, picture: &Picture) -> Result<usize, Unreadable> {
        if self.width.abs_diff(self.height) * 2 * 21 > self.width {
            return Err(Unreadable::Odd("what is dark in it is no square"));
        }
        let edge = (self.left..self.left + self.width).take_while(|x| picture.dark(*x, self.top));
        let edge = edge.count();
        // 17 + 4 × version; 15 in place of 17 rounds.
        let version = (FINDER * self.width)
            .checked_sub(15 * edge)
            .map(|rest| rest / (4 * edge.max(1)));
        match version {
            Some(version @ 1..=40) if edge > 0 => Ok(17 + 4 * version),
            _ => Err(Unreadable::Odd("there is no finder pattern in its corner")),
        }
    }

    /// A module's inner half must be of one colour; its edges may be blurred.
    fn module(&self, picture: &Picture, x: usize, y: usize, modules: usize) -> Option<bool> {
        let inner = |at: usize, length: usize| {
            let from = (4 * at + 1) * length / (4 * modules);
            from..((4 * at + 3) * length).div_ceil(4 * modules).max(from + 1)
        };
        let dark = |x, y| picture.dark(self.left + x, self.top + y);
        let (columns, rows) = (inner(x, self.width), inner(y, self.height));
        let first = dark(columns.start, rows.start);
        let even = rows
            .flat_map(|y| columns.clone().map(move |x| (x, y)))
            .all(|(x, y)| dark(x, y) == first);
        even.then_some(first)
    }
}

#[cfg(test)]
mod tests;
