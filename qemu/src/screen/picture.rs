//! A picture as QEMU's `screendump` writes it by default: PPM, `P6`, 8 bits a colour.

/// The largest side that is read, pixels.
const MAX_SIDE: usize = 8192;

pub(super) struct Picture<'a> {
    width: usize,
    height: usize,
    pixels: &'a [u8],
}

impl<'a> Picture<'a> {
    /// `None` when `bytes` are no whole picture.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"P6")?;
        let mut number = || {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|b| !b.is_ascii_digit())?;
            let (digits, tail) = rest.split_at_checked(end)?;
            rest = tail;
            std::str::from_utf8(digits).ok()?.parse::<usize>().ok()
        };
        let (width, height, depth) = (number()?, number()?, number()?);
        let pixels = rest.get(1..)?;
        let sides = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
        (sides && depth == 255 && pixels.len() == width * height * 3).then_some(Self {
            width,
            height,
            pixels,
        })
    }

    /// Width and height, pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Whether it is of one colour.
    pub fn is_even(&self) -> bool {
        // Equal to itself one pixel further on.
        self.pixels.get(3..).is_some_and(|rest| self.pixels.starts_with(rest))
    }

    /// `len` pixels of row `y` from `x` on, three bytes each; `None` outside.
    pub fn run(&self, x: usize, y: usize, len: usize) -> Option<&'a [u8]> {
        if y >= self.height || x.checked_add(len)? > self.width {
            return None;
        }
        let at = (y * self.width + x) * 3;
        self.pixels.get(at..at + len * 3)
    }
}

#[cfg(test)]
mod tests {
    use super::Picture;

    #[test]
    fn evenness_and_runs() {
        let bytes = |pixels: &[u8]| [b"P6\n3 2\n255\n".as_slice(), pixels].concat();
        let even = bytes(&[7; 18]);
        assert!(Picture::parse(&even).unwrap().is_even());
        let mut pixels = [7; 18];
        pixels[17] = 8;
        let odd = bytes(&pixels);
        let picture = Picture::parse(&odd).unwrap();
        assert!(!picture.is_even());
        assert_eq!(picture.run(1, 1, 2), Some(&[7, 7, 7, 7, 7, 8][..]));
        assert_eq!(picture.run(2, 1, 2), None);
        assert_eq!(picture.run(0, 2, 1), None);
        assert!(Picture::parse(b"P6\n0 0\n255\n").is_none());
    }
}
