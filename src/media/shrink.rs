//! A picture made smaller, row by row as it comes: each new pixel is the mean of all that it covers, those at its edges by their
//! share. No more is held than a row and the small picture.

/// How large a picture becomes that has to fit into a square; none where it fits already, or is no picture.
pub(super) fn fit(width: u32, height: u32, side: u32) -> Option<(u32, u32)> {
    let longest = width.max(height);
    if longest <= side || width.min(height) == 0 {
        return None;
    }
    let scaled = |length: u32| {
        let scaled = (u64::from(length) * u64::from(side) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    Some((scaled(width), scaled(height)))
}

/// Takes rows and makes a smaller picture of them, in red, green, blue and cover.
pub(super) struct Shrinker {
    /// How many bytes a pixel of a row has: grey or colours, and perhaps cover.
    channels: usize,
    from: (u64, u64),
    to: (u64, u64),
    /// The row that came last, as wide as the new picture; colours times cover, and cover.
    line: Vec<[u64; 4]>,
    /// The new row that is being summed up, and how much of it is still to come.
    sums: Vec<[u64; 4]>,
    left: u64,
    pixels: Vec<u8>,
}

impl Shrinker {
    /// Makes a picture of `to` out of one of `from`, which is as large or larger in each direction.
    pub(super) fn new(channels: usize, from: (u32, u32), to: (u32, u32)) -> Self {
        let wide = |(width, height): (u32, u32)| (u64::from(width), u64::from(height));
        let (line, sums) = (vec![[0; 4]; to.0 as usize], vec![[0; 4]; to.0 as usize]);
        Self { channels, from: wide(from), to: wide(to), line, sums, left: u64::from(from.1), pixels: Vec::new() }
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: &[u8]) {
        self.narrow(row);
        // An old row is as high as `to` parts of a new one, which has `from` of them: it lies in one new row, or in two.
        let (height, part) = (self.from.1, self.to.1);
        let first = part.min(self.left);
        self.add(first);
        self.left -= first;
        if self.left == 0 {
            self.end_row();
            self.left = height - (part - first);
            self.add(part - first);
        }
    }

    /// Returns the pixels of the new picture, four bytes each; none where rows are missing.
    pub(super) fn end(self) -> Option<Vec<u8>> {
        (self.pixels.len() as u64 == self.to.0 * self.to.1 * 4).then_some(self.pixels)
    }

    fn narrow(&mut self, row: &[u8]) {
        let (width, part) = (self.from.0, self.to.0);
        self.line.fill([0; 4]);
        let (mut place, mut left) = (0, width);
        for pixel in row.chunks_exact(self.channels) {
            let pixel = weighed(pixel);
            let first = part.min(left);
            sum(&mut self.line, place, &pixel, first);
            left -= first;
            if left == 0 {
                place += 1;
                left = width - (part - first);
                sum(&mut self.line, place, &pixel, part - first);
            }
        }
    }

    fn add(&mut self, share: u64) {
        for (place, pixel) in self.line.iter().enumerate() {
            sum(&mut self.sums, place, pixel, share);
        }
    }

    fn end_row(&mut self) {
        let whole = self.from.0 * self.from.1;
        for sums in &mut self.sums {
            let [colours @ .., cover] = std::mem::take(sums);
            let mean = |sum: u64, of: u64| u8::try_from((sum + of / 2).checked_div(of).unwrap_or(0)).unwrap_or(u8::MAX);
            self.pixels.extend(colours.map(|colour| mean(colour, cover)));
            self.pixels.push(mean(cover, whole));
        }
    }
}

fn sum(sums: &mut [[u64; 4]], place: usize, pixel: &[u64; 4], share: u64) {
    if let Some(sums) = sums.get_mut(place) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += value * share;
        }
    }
}

/// Returns colours times cover, and cover: what is not seen counts for nothing.
fn weighed(pixel: &[u8]) -> [u64; 4] {
    let (red, green, blue, cover) = match *pixel {
        [grey] => (grey, grey, grey, u8::MAX),
        [grey, cover] => (grey, grey, grey, cover),
        [red, green, blue] => (red, green, blue, u8::MAX),
        [red, green, blue, cover, ..] => (red, green, blue, cover),
        [] => (0, 0, 0, 0),
    };
    let cover = u64::from(cover);
    [u64::from(red) * cover, u64::from(green) * cover, u64::from(blue) * cover, cover]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_never_grows() {
        for ((width, height), expected) in [
            ((1024, 1024), Some((256, 256))),
            ((1920, 1080), Some((256, 144))),
            ((1080, 1920), Some((144, 256))),
            ((257, 256), Some((256, 255))),
            ((100_000, 1), Some((256, 1))),
            ((u32::MAX, 3), Some((256, 1))),
            ((256, 256), None),
            ((1, 1), None),
            ((0, 1000), None),
        ] {
            assert_eq!(fit(width, height, 256), expected, "{width} x {height}");
        }
    }

    #[test]
    fn each_pixel_is_the_mean_of_what_it_covers() {
        assert_eq!(shrunk(1, (4, 2), (2, 1), &[0, 10, 20, 30, 40, 50, 60, 70]), grey(&[25, 45]));
        // Three pixels into two: the middle one lies half in each.
        assert_eq!(shrunk(1, (3, 1), (2, 1), &[0, 90, 240]), grey(&[30, 190]));
        assert_eq!(shrunk(1, (1, 3), (1, 2), &[0, 90, 240]), grey(&[30, 190]));
        assert_eq!(shrunk(3, (2, 2), (1, 1), &[1, 2, 3, 5, 6, 7, 1, 2, 3, 5, 6, 7]), [3, 4, 5, 255]);
    }

    #[test]
    fn one_colour_stays_that_colour_at_every_size() {
        for (from, to) in [((7, 5), (3, 2)), ((301, 203), (64, 43)), ((65, 64), (64, 63)), ((1000, 3), (64, 1))] {
            let pixels = vec![[9, 200, 77, 255]; (from.0 * from.1) as usize].concat();
            let expected = vec![[9, 200, 77, 255]; (to.0 * to.1) as usize].concat();
            assert_eq!(shrunk(4, from, to, &pixels), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_not_seen_gives_no_colour() {
        assert_eq!(shrunk(4, (2, 1), (1, 1), &[200, 100, 0, 255, 0, 0, 0, 0]), [200, 100, 0, 128]);
        assert_eq!(shrunk(2, (2, 1), (1, 1), &[200, 0, 100, 0]), [0, 0, 0, 0]);
    }

    #[test]
    fn rows_that_are_missing_or_too_short_make_no_picture_of_their_own() {
        let mut shrinker = Shrinker::new(1, (4, 4), (2, 2));
        shrinker.push(&[1, 2, 3, 4]);
        shrinker.push(&[1]);
        assert_eq!(shrinker.end(), None);
    }

    fn grey(shades: &[u8]) -> Vec<u8> {
        shades.iter().flat_map(|shade| [*shade, *shade, *shade, 255]).collect()
    }

    fn shrunk(channels: usize, from: (u32, u32), to: (u32, u32), pixels: &[u8]) -> Vec<u8> {
        let mut shrinker = Shrinker::new(channels, from, to);
        for row in pixels.chunks_exact(channels * from.0 as usize) {
            shrinker.push(row);
        }
        shrinker.end().unwrap()
    }
}
