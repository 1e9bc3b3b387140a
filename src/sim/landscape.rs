//! Paints a landscape in layers: sky, sun or moon, stars, ridges in mist, sometimes water, a caption at the foot.
//!
//! It works in blocks of eight pixels wherever a block has one colour, because debug builds paint too.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "picture sizes and colours are far inside every number type here, and are clamped where they are not"
)]

use super::dice::Dice;
use super::lettering::Caption;
use super::palette::{Palette, Rgb, blend, mix};

const LAYERS: usize = 5;
const BLOCK: usize = 8;
const GLOW_STEPS: usize = 4096;

/// Everything about a picture that does not depend on the pixel.
pub(super) struct Landscape {
    width: usize,
    grain: u64,
    sky: Vec<[u8; 3]>,
    orb: Orb,
    /// Each column's crest in each layer, the nearest layer first.
    crests: Vec<[usize; LAYERS]>,
    /// The highest and lowest crest within each block of columns.
    bounds: Vec<[(usize, usize); LAYERS]>,
    /// The colours of each layer by row.
    slopes: [Vec<[u8; 3]>; LAYERS],
    stars: Vec<(usize, usize, u8)>,
    water: Option<usize>,
    caption: Option<Caption>,
}

/// The sun or moon, with its light.
struct Orb {
    x: i64,
    y: i64,
    radius: f32,
    color: [u8; 3],
    /// The share of light (0 to 256) by the square of the distance, shifted.
    glow: Vec<u16>,
    shift: u32,
}

impl Landscape {
    /// Plans a picture.
    pub(super) fn new(caption: &str, seed: u64, width: usize, height: usize) -> Self {
        let mut dice = Dice::new(seed);
        let palette = Palette::of(caption, dice.roll());
        let horizon = (height as f32 * dice.between(0.5, 0.6)).max(1.0);
        let orb = Orb::new(&palette, &mut dice, width, height, horizon);
        let mut landscape = Self {
            width,
            grain: dice.roll(),
            sky: sky(&palette, height, horizon),
            orb,
            crests: vec![[height; LAYERS]; width],
            bounds: Vec::new(),
            slopes: Default::default(),
            stars: Vec::new(),
            water: palette.has_water.then_some(height * 4 / 5),
            caption: Caption::set(caption, width, height),
        };
        for layer in 0..LAYERS {
            landscape.raise_ridge(layer, &palette, &mut dice, horizon);
        }
        landscape.bounds = landscape.crests.chunks(BLOCK).map(bounds).collect();
        if palette.is_night {
            landscape.light_stars(&mut dice, horizon);
        }
        landscape
    }

    /// Paints one row.
    pub(super) fn paint(&self, y: usize, row: &mut [u8]) {
        let mut dice = Dice::new(self.grain ^ y as u64);
        let is_water = self.water.is_some_and(|shore| y >= shore);
        let ripple = if is_water { (dice.roll() % 29) as u16 } else { 0 };
        let strip = self.caption.as_ref().and_then(|caption| y.checked_sub(caption.strip));
        let shade = strip.map_or(0, |depth| (depth * 2).min(120) as u16);
        let shaded = |color: [u8; 3]| if shade > 0 { blend(color, [6, 8, 16], shade) } else { color };
        for (block, pixels) in row.chunks_mut(BLOCK * 3).enumerate() {
            let noise = [dice.roll(), dice.roll(), dice.roll()];
            let x = block * BLOCK;
            match self.color_of_block(block, y, is_water, ripple) {
                Some(color) => fill(pixels, shaded(color), noise),
                None => {
                    for (offset, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                        pixel.copy_from_slice(&shaded(self.color(x + offset, y)));
                    }
                }
            }
        }
        self.set_stars(y, row);
        if let Some(caption) = &self.caption {
            caption.set_row(y, row);
        }
    }

    /// Returns the one colour of a block, if it has only one.
    fn color_of_block(&self, block: usize, y: usize, is_water: bool, ripple: u16) -> Option<[u8; 3]> {
        let x = block * BLOCK + BLOCK / 2;
        if is_water {
            return Some(self.sea(x, y, ripple));
        }
        for (layer, (highest, lowest)) in self.bounds.get(block)?.iter().enumerate() {
            if y >= *lowest {
                return self.slopes[layer].get(y).copied();
            }
            if y >= *highest {
                return None;
            }
        }
        let distance = self.orb.distance(x, y);
        // In a small picture the light changes within a block.
        let is_edge = self.width < 40 * BLOCK || (distance.sqrt_f32() - self.orb.radius).abs() < BLOCK as f32;
        if is_edge { None } else { Some(self.orb.light(self.sky[y], distance)) }
    }

    fn color(&self, x: usize, y: usize) -> [u8; 3] {
        let layer = self.crests[x].iter().position(|crest| *crest <= y);
        match layer {
            Some(layer) => self.slopes[layer][y],
            None => self.orb.light(self.sky[y], self.orb.distance(x, y)),
        }
    }

    /// Returns the colour of water: the sky upside down and darker, with a path of light below the orb.
    fn sea(&self, x: usize, y: usize, ripple: u16) -> [u8; 3] {
        let shore = self.water.unwrap_or(y);
        let mirrored = shore.saturating_sub(shore / 4 + (y - shore) * 3);
        let dark = blend(self.sky[mirrored], self.slopes[1][0], 96);
        let width = (self.width / 36) as i64 * i64::from(1 + ripple % 5);
        let is_glint = ripple > 9 && (x as i64 - self.orb.x).abs() < width;
        blend(dark, self.orb.color, if is_glint { 70 + ripple * 3 } else { ripple / 2 })
    }

    fn raise_ridge(&mut self, layer: usize, palette: &Palette, dice: &mut Dice, horizon: f32) {
        let (width, height) = (self.width, self.sky.len());
        // 0 is the nearest layer, 1 the farthest.
        let distance = layer as f32 / (LAYERS - 1) as f32;
        let nearest = height as f32 * if self.water.is_some() { 0.84 } else { 0.9 };
        let base = nearest + (horizon - nearest) * distance.powf(0.8);
        let reach = height as f32 * (0.05 + 0.05 * (1.0 - (distance - 0.4).abs()));
        let waves = waves(dice, distance);
        for (x, crests) in self.crests.iter_mut().enumerate() {
            let along = x as f32 / width.max(height) as f32;
            let rise: f32 = waves.iter().map(|wave| wave.height(along)).sum();
            crests[layer] = (base - reach * rise).clamp(0.0, height as f32) as usize;
        }
        let crest = mix(palette.ridges[1], palette.ridges[0], distance.powf(1.2));
        let mist = mix(crest, palette.sky[2], 0.2 + 0.5 * distance);
        let (from, fade) = (base - reach * 1.6, reach * 3.6);
        self.slopes[layer] = (0..height).map(|y| bytes(mix(crest, mist, (y as f32 - from) / fade))).collect();
    }

    fn light_stars(&mut self, dice: &mut Dice, horizon: f32) {
        let count = (self.width as f32 * horizon / 1500.0) as usize;
        for _ in 0..count {
            let y = horizon * dice.between(0.0, 1.0).powf(1.4);
            let brightness = 50.0 + 200.0 * dice.between(0.0, 1.0).powi(3);
            self.stars.push((dice.between(0.0, self.width as f32) as usize, y as usize, brightness as u8));
        }
        self.stars.sort_unstable_by_key(|(x, y, _)| (*y, *x));
    }

    fn set_stars(&self, y: usize, row: &mut [u8]) {
        let first = self.stars.partition_point(|(_, star, _)| *star < y);
        for (x, _, brightness) in self.stars.iter().skip(first).take_while(|(_, star, _)| *star == y) {
            let is_open = self.crests.get(*x).is_some_and(|crests| crests.iter().all(|crest| *crest > y));
            let is_outside = self.orb.distance(*x, y).sqrt_f32() > self.orb.radius + 2.0;
            if let Some(pixel) = row.get_mut(x * 3..x * 3 + 3).filter(|_| is_open && is_outside) {
                for value in pixel {
                    *value = value.saturating_add(*brightness);
                }
            }
        }
    }
}

impl Orb {
    fn new(palette: &Palette, dice: &mut Dice, width: usize, height: usize, horizon: f32) -> Self {
        let size = width.min(height) as f32;
        let x = (width as f32 * dice.between(0.2, 0.8)) as i64;
        let y = (horizon * dice.between(0.3, 0.75)) as i64;
        let radius = size * if palette.is_night { dice.between(0.035, 0.05) } else { dice.between(0.05, 0.08) };
        let reach = size * 0.75 + 1.0;
        let mut shift = 0;
        while ((reach * reach) as usize) >> shift >= GLOW_STEPS {
            shift += 1;
        }
        let strength = if palette.is_night { 0.32 } else { 0.6 };
        let share = |step: usize| {
            let distance = ((step << shift) as f32).sqrt();
            let disk = (radius - distance + 0.5).clamp(0.0, 1.0);
            let halo = strength * (1.0 - (distance - radius).max(0.0) / (reach - radius)).clamp(0.0, 1.0).powi(3);
            (256.0 * disk.max(halo)) as u16
        };
        Self { x, y, radius, color: bytes(palette.orb), glow: (0..GLOW_STEPS).map(share).collect(), shift }
    }

    fn distance(&self, x: usize, y: usize) -> Squared {
        let (across, down) = (x as i64 - self.x, y as i64 - self.y);
        Squared(across * across + down * down)
    }

    fn light(&self, color: [u8; 3], distance: Squared) -> [u8; 3] {
        match self.glow.get((distance.0 >> self.shift) as usize) {
            Some(share) if *share > 0 => blend(color, self.color, *share),
            Some(_) | None => color,
        }
    }
}

/// The square of a distance.
#[derive(Clone, Copy)]
struct Squared(i64);

impl Squared {
    fn sqrt_f32(self) -> f32 {
        (self.0 as f32).sqrt()
    }
}

/// One of the sines that a ridge line is made of.
struct Wave {
    frequency: f32,
    phase: f32,
    strength: f32,
    /// Sharp crests, as rock has them, instead of round ones.
    is_sharp: bool,
}

impl Wave {
    fn height(&self, along: f32) -> f32 {
        let sine = (along * self.frequency + self.phase).sin();
        self.strength * if self.is_sharp { 1.0 - 2.0 * sine.abs() } else { sine }
    }
}

fn waves(dice: &mut Dice, distance: f32) -> Vec<Wave> {
    let is_rock = distance > 0.3;
    let mut frequency = dice.between(3.0, 5.0) + 4.0 * distance;
    let mut strength = 0.8;
    let mut waves = Vec::new();
    for octave in 0..6 {
        waves.push(Wave { frequency, phase: dice.between(0.0, 6.3), strength, is_sharp: is_rock && octave > 0 });
        frequency *= dice.between(1.9, 2.3);
        strength *= if is_rock { 0.5 } else { 0.42 };
    }
    waves
}

fn bounds(columns: &[[usize; LAYERS]]) -> [(usize, usize); LAYERS] {
    std::array::from_fn(|layer| {
        let crests = || columns.iter().map(|crests| crests[layer]);
        (crests().min().unwrap_or(0), crests().max().unwrap_or(0))
    })
}

fn sky(palette: &Palette, height: usize, horizon: f32) -> Vec<[u8; 3]> {
    let [top, middle, low] = palette.sky;
    let at = |y: usize| {
        let depth = y as f32 / horizon;
        bytes(if depth < 0.6 { mix(top, middle, depth / 0.6) } else { mix(middle, low, (depth - 0.6) / 0.4) })
    };
    (0..height).map(at).collect()
}

/// Rounds a colour and leaves room for the noise.
fn bytes(color: Rgb) -> [u8; 3] {
    color.map(|value| value.clamp(0.0, 252.0) as u8)
}

/// Fills a block with a colour and a little noise; the colours leave room for the noise, so no byte overflows.
fn fill(pixels: &mut [u8], [r, g, b]: [u8; 3], noise: [u64; 3]) {
    const LITTLE: u64 = 0x0303_0303_0303_0303;
    let words = [[r, g, b, r, g, b, r, g], [b, r, g, b, r, g, b, r], [g, b, r, g, b, r, g, b]];
    let mut block = [0; BLOCK * 3];
    for ((bytes, word), noise) in block.chunks_exact_mut(8).zip(words).zip(noise) {
        bytes.copy_from_slice(&(u64::from_le_bytes(word) + (noise & LITTLE)).to_le_bytes());
    }
    if let Some(block) = block.get(..pixels.len()) {
        pixels.copy_from_slice(block);
    }
}
