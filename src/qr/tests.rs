use super::*;

const URL: &str = "https://www.mercadopago.com/instore/merchant/qr/2711382/0123456789abcdef0123456789abcdef";

/// Codes of several versions, drawn by another hand.
fn codes() -> Vec<qrcode::QrCode> {
    [1, 2, 7, 14, 40]
        .into_iter()
        .map(|version| {
            qrcode::QrCode::with_version("42", qrcode::Version::Normal(version), qrcode::EcLevel::M).unwrap()
        })
        .chain([qrcode::QrCode::new(URL).unwrap()])
        .collect()
}

#[test]
fn a_code_of_a_text_has_its_modules_and_its_margin() {
    let code = Code::of("http://127.0.0.1:8080/pay-mp?locationId=6232&positionId=4").expect("it is short");
    // The finder in the upper left corner begins with seven dark modules after the margin.
    assert!(code.svg().contains("d=\"M4 4h7v1h-7z"));
    assert!(!code.svg().contains("M3 ") && Code::of(&"x".repeat(5_000)).is_none());
}

fn is_dark_there(code: &qrcode::QrCode, x: usize, y: usize) -> bool {
    x < code.width() && y < code.width() && code[(x, y)] == qrcode::Color::Dark
}

fn picture(colour: ColorType, depth: BitDepth, side: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let side = u32::try_from(side).unwrap();
    let mut encoder = Encoder::new(&mut file, side, side);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == ColorType::Indexed {
        encoder.set_palette(vec![10, 20, 30, 250, 240, 230]);
    }
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    file
}

/// A picture whose code is `length` pixels wide, with light of `quiet` pixels around.
fn gray(code: &qrcode::QrCode, length: usize, quiet: usize) -> (usize, Vec<u8>) {
    let side = length + 2 * quiet;
    let at = |pixel: usize| {
        pixel
            .checked_sub(quiet)
            .map_or(usize::MAX, |at| at * code.width() / length)
    };
    let pixel = |pixel: usize| {
        if is_dark_there(code, at(pixel % side), at(pixel / side)) {
            0
        } else {
            255
        }
    };
    (side, (0..side * side).map(pixel).collect())
}

fn read_gray(code: &qrcode::QrCode, length: usize, quiet: usize) -> Result<Code, Unreadable> {
    let (side, bytes) = gray(code, length, quiet);
    Code::read(&picture(ColorType::Grayscale, BitDepth::Eight, side, &bytes))
}

#[track_caller]
fn same(code: &qrcode::QrCode, read: &Code) {
    assert_eq!(read.width, code.width());
    for y in 0..read.width {
        (0..read.width).for_each(|x| assert_eq!(read.dark(x, y), is_dark_there(code, x, y), "{x} {y}"));
    }
}

fn decoded(file: &[u8]) -> String {
    let picture = Picture::read(file).unwrap();
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(picture.width, picture.height, |x, y| {
        if picture.dark(x, y) { 0 } else { 255 }
    });
    image.detect_grids()[0].decode().unwrap().1
}

#[test]
fn a_code_is_read_at_any_whole_scale() {
    for code in codes() {
        for (scale, quiet) in [(1, 0), (1, 4), (2, 3), (3, 12), (8, 32)] {
            same(&code, &read_gray(&code, code.width() * scale, quiet).unwrap());
        }
    }
}

#[test]
fn a_code_is_read_at_scales_between() {
    let code = qrcode::QrCode::new(URL).unwrap();
    for length in (code.width() * 5)..(code.width() * 7) {
        same(&code, &read_gray(&code, length, 9).unwrap());
    }
}

#[test]
fn colours_depth_and_transparency_do_not_matter() {
    let code = qrcode::QrCode::new(URL).unwrap();
    let (side, gray) = gray(&code, code.width() * 4, 16);
    let each = |of: &dyn Fn(u8) -> Vec<u8>| gray.iter().flat_map(|pixel| of(*pixel)).collect::<Vec<u8>>();
    let read = |colour, depth, bytes: &[u8]| same(&code, &Code::read(&picture(colour, depth, side, bytes)).unwrap());
    read(ColorType::Rgb, BitDepth::Eight, &each(&|p| vec![p / 4, p, p / 2]));
    read(ColorType::Rgba, BitDepth::Eight, &each(&|p| vec![0, 0, 90, 255 - p]));
    read(ColorType::GrayscaleAlpha, BitDepth::Eight, &each(&|p| vec![p, 255]));
    read(ColorType::Grayscale, BitDepth::Sixteen, &each(&|p| vec![p, p]));
    read(ColorType::Indexed, BitDepth::Eight, &each(&|p| vec![p / 255]));
}

#[test]
fn what_is_drawn_says_the_same() {
    for code in codes() {
        let read = read_gray(&code, code.width() * 3, 5).unwrap();
        let drawn = read.png();
        assert_eq!(Code::read(&drawn).unwrap(), read);
        let (_, size) = drawn.split_at(16);
        let side = u32::from_be_bytes(size[..4].try_into().unwrap());
        assert_eq!(side as usize, (code.width() + 8) * 16, "with its quiet zone");
    }
    let read = read_gray(&qrcode::QrCode::new(URL).unwrap(), 333, 5).unwrap();
    assert_eq!(decoded(&read.png()), URL);
}

#[test]
fn the_svg_has_each_dark_module_once() {
    let code = qrcode::QrCode::new(URL).unwrap();
    let read = read_gray(&code, code.width() * 2, 8).unwrap();
    let svg = read.svg();
    let (_, path) = svg.split_once("<path d=\"").unwrap();
    let mut dark = vec![false; read.dark.len()];
    for run in path.split_once('"').unwrap().0.split_terminator('z') {
        let numbers: Vec<usize> = run
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|n| n.parse().unwrap())
            .collect();
        let [x, y, length, 1, back] = numbers[..] else {
            panic!("{run}")
        };
        assert_eq!(length, back);
        for x in x - QUIET..x - QUIET + length {
            assert!(
                !std::mem::replace(&mut dark[(y - QUIET) * read.width + x], true),
                "{run}"
            );
        }
    }
    assert_eq!(dark, read.dark);
    let side = code.width() + 8;
    assert!(svg.starts_with("<svg ") && svg.contains(&format!("viewBox=\"0 0 {side} {side}\"")));
}

/// The modules that a terminal's text shows; `ink` is what its characters draw.
fn shown(text: &str, ink: bool) -> Vec<Vec<bool>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let line = line
            .trim_start_matches("\x1b[38;5;16;48;5;231m")
            .trim_end_matches("\x1b[0m");
        let half = |full: [char; 2]| line.chars().map(|c| full.contains(&c) == ink).collect::<Vec<_>>();
        rows.extend([half(['█', '▀']), half(['█', '▄'])]);
    }
    rows
}

#[test]
fn a_terminal_shows_it_with_and_without_colour() {
    let code = qrcode::QrCode::new(URL).unwrap();
    let read = read_gray(&code, code.width(), 0).unwrap();
    for (colour, ink) in [(true, true), (false, false)] {
        let text = read.terminal(colour);
        assert_eq!(text.contains('\x1b'), colour);
        let rows = shown(&text, ink);
        assert_eq!(rows.len(), read.side() + read.side() % 2);
        for (y, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), read.side());
            row.iter()
                .enumerate()
                .for_each(|(x, dark)| assert_eq!(*dark, read.dark_within(x, y), "{x} {y}"));
        }
    }
}

#[test]
fn what_is_no_bare_code_is_refused() {
    let code = qrcode::QrCode::new(URL).unwrap();
    let width = code.width();
    let (side, good) = gray(&code, width * 4, 16);
    let told = |side: usize, bytes: &[u8]| {
        Code::read(&picture(ColorType::Grayscale, BitDepth::Eight, side, bytes))
            .unwrap_err()
            .to_string()
    };
    let changed = |change: &dyn Fn(usize, usize, &mut u8)| {
        let mut bytes = good.clone();
        bytes
            .iter_mut()
            .enumerate()
            .for_each(|(at, pixel)| change(at % side, at / side, pixel));
        told(side, &bytes)
    };
    assert!(matches!(Code::read(b"<html>"), Err(Unreadable::Png(_))));
    let whole = picture(ColorType::Grayscale, BitDepth::Eight, side, &good);
    assert!(matches!(Code::read(&whole[..whole.len() / 2]), Err(Unreadable::Png(_))));
    assert!(told(3, &[255; 9]).contains("nothing in it is dark"));
    assert!(told(3, &[0; 9]).contains("no finder pattern"));
    assert!(told(3001, &vec![0; 3001 * 3001]).contains("3000 pixels"));
    let tall = changed(&|_, y, pixel| *pixel = if y < side / 2 { *pixel } else { 255 });
    assert!(tall.contains("no square"), "{tall}");
    let logo = changed(&|x, y, pixel| {
        if x.abs_diff(side / 2 + 3).pow(2) + y.abs_diff(side / 2 + 1).pow(2) < 400 {
            *pixel = 255 * u8::from((x / 3 + y / 5).is_multiple_of(2));
        }
    });
    assert!(logo.contains("no even grid"), "{logo}");
    let finder = changed(&|x, y, pixel| {
        if (side - 36..side - 24).contains(&x) && (20..24).contains(&y) {
            *pixel = 0;
        }
    });
    assert!(finder.contains("finder or timing"), "{finder}");
    // A frame around the code is no part of it.
    let framed = changed(&|x, y, pixel| {
        if x < 2 || y < 2 || x >= side - 2 || y >= side - 2 {
            *pixel = 0;
        }
    });
    assert!(framed.contains("shows no bare QR code"), "{framed}");
}
