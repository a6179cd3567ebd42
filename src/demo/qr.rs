//! A QR code as a picture that scales: what stands on the machine, and what a real telephone could read.

use qrcode::{Color, QrCode};

/// Light modules around the code, by its standard.
const QUIET: usize = 4;

/// Black on white in every theme: telephones want it so. None if the text is too long for any code.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let mut dark = String::new();
    for y in 0..width {
        for x in (0..width).filter(|x| code[(*x, y)] == Color::Dark) {
            dark.push_str(&format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{dark}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_modules_and_its_margin() {
        let svg = svg("http://127.0.0.1:8080/pay-mp?locationId=6232&positionId=4").expect("it is short");
        // The finder in the upper left corner begins with seven dark modules after the margin.
        assert!(svg.contains("M4 4h1v1h-1zM5 4h1v1h-1zM6 4h1v1h-1zM7 4h1v1h-1zM8 4h1v1h-1zM9 4h1v1h-1zM10 4h1v1h-1z"));
        assert!(!svg.contains("M3 ") && super::svg(&"x".repeat(5_000)).is_none());
    }
}
