//! The colour of a site, in shades in which people can read it (WCAG 2.2, section 1.4.3).
//!
//! Pure.

/// Red, green and blue.
type Rgb = [u8; 3];

const BLACK: Rgb = [0; 3];
const WHITE: Rgb = [255; 3];
/// The least contrast of text.
const READABLE: f64 = 4.5;
/// As dark as the paper of a light page may be, and as light as that of a dark page: a little more than those of the looks.
const LIGHT_PAPER: Rgb = [0xee, 0xee, 0xea];
const DARK_PAPER: Rgb = [0x1f, 0x29, 0x40];
/// What stands on the colour on a dark page.
const DARK_INK: Rgb = [0x10, 0x16, 0x20];

/// The shades of a site's colour.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shades {
    /// On light paper.
    light: Rgb,
    /// On dark paper.
    dark: Rgb,
    /// Behind white text, in large.
    deep: Rgb,
}

impl Shades {
    /// Those of a colour: the colour itself wherever it can be read, and else the nearest shade that can.
    pub(super) fn of(color: Rgb) -> Self {
        Self {
            light: toward(color, BLACK, |shade| contrast(shade, LIGHT_PAPER) >= READABLE),
            dark: toward(color, WHITE, |shade| contrast(shade, DARK_PAPER).min(contrast(shade, DARK_INK)) >= READABLE),
            deep: toward(color, BLACK, |shade| contrast(shade, WHITE) >= 1.5 * READABLE),
        }
    }

    /// What is shown in the place of a colour that cannot be read on light paper.
    pub(super) fn instead(&self, color: Rgb) -> Option<String> {
        (self.light != color).then(|| hex(self.light))
    }

    /// The colour of what a browser draws around the page.
    pub(super) fn deep(&self) -> String {
        hex(self.deep)
    }

    /// The style sheet that gives the shades to a look.
    pub(super) fn sheet(&self) -> String {
        let variables = |accent: Rgb, strong: Rgb, on: Rgb, deep: Rgb| {
            let [accent, strong, on, deep] = [accent, strong, on, deep].map(hex);
            format!(
                ":root {{ --accent: {accent}; --accent-strong: {strong}; --on-accent: {on}; --ring: {accent}; --deep: {deep}; }}"
            )
        };
        let light = variables(self.light, mixed(self.light, BLACK, 0.25), WHITE, self.deep);
        let dark = variables(self.dark, mixed(self.dark, WHITE, 0.35), DARK_INK, mixed(self.deep, BLACK, 0.5));
        format!("{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n")
    }
}

/// The first shade on the way from a colour to another one that will do.
fn toward(color: Rgb, end: Rgb, will_do: impl Fn(Rgb) -> bool) -> Rgb {
    let shades = (0..=50_u8).map(|step| mixed(color, end, f64::from(step) / 50.0));
    shades.into_iter().find(|shade| will_do(*shade)).unwrap_or(end)
}

fn mixed(color: Rgb, with: Rgb, part: f64) -> Rgb {
    std::array::from_fn(|at| {
        let (from, to) = (f64::from(color[at]), f64::from(with[at]));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
        let byte = (from + (to - from) * part).round() as u8;
        byte
    })
}

fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(color: Rgb) -> f64 {
    let [red, green, blue] = color.map(|byte| {
        let part = f64::from(byte) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn hex(color: Rgb) -> String {
    format!("#{}", crate::text::hex(&color))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_standard() {
        assert!((contrast(BLACK, WHITE) - 21.0).abs() < 0.01);
        assert!((contrast([0x77; 3], WHITE) - 4.48).abs() < 0.01);
        assert!((contrast(WHITE, WHITE) - 1.0).abs() < 0.01);
    }

    #[test]
    fn every_colour_has_shades_that_can_be_read() {
        for index in 0..=4096_u32 {
            let part = |shift: u32| u8::try_from((index >> shift & 15) * 17).unwrap();
            let color = [part(8), part(4), part(0)];
            let shades = Shades::of(color);
            assert!(contrast(shades.light, LIGHT_PAPER) >= READABLE && contrast(shades.light, WHITE) >= READABLE);
            assert!(contrast(shades.dark, DARK_PAPER) >= READABLE && contrast(shades.dark, DARK_INK) >= READABLE);
            assert!(contrast(shades.deep, WHITE) >= READABLE, "{color:?}");
            // The stronger ones are read where the others are.
            assert!(contrast(mixed(shades.light, BLACK, 0.25), LIGHT_PAPER) >= READABLE);
            assert!(contrast(mixed(shades.dark, WHITE, 0.35), DARK_PAPER) >= READABLE);
        }
    }

    #[test]
    fn a_colour_that_can_be_read_stays_as_it_is() {
        let blue = [0x16, 0x56, 0xc8];
        assert_eq!(Shades::of(blue).instead(blue), None);
        assert!(Shades::of(blue).sheet().starts_with(":root { --accent: #1656c8; "));
        let yellow = [0xff, 0xe0, 0x00];
        let told = Shades::of(yellow).instead(yellow).unwrap();
        assert!(told.starts_with('#') && told != "#ffe000", "{told}");
    }
}
