//! Draws the pictures that a simulated server hands out: a landscape in layers, the same for the same prompt and seed.
//!
//! Row by row, with tables instead of arithmetic per pixel, because debug builds draw too.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::lettering::Caption;
use super::palette::{Palette, Rgb, mix, rgb};

const LAYERS: usize = 5;
const GLOW_STEPS: usize = 2048;

/// What is to be drawn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Scene {
    /// The text at the foot.
    pub(super) caption: String,
    pub(super) seed: u64,
    /// One colour and nothing else.
    pub(super) plain: Option<u64>,
    /// Negative colours.
    pub(super) inverted: bool,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What a PNG file holds besides its pixels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Extras {
    /// Keywords and texts.
    pub(super) texts: Vec<(String, String)>,
    /// The file is filled up to at least this many bytes.
    pub(super) noise: usize,
}

/// Returns the scene as a PNG file.
pub(super) fn png(scene: &Scene, extras: &Extras) -> Vec<u8> {
    let mut file = Vec::new();
    // Writing to memory fails only for sizes of zero, which no scene has.
    if let Err(error) = encode(scene, extras, &mut file) {
        tracing::error!(%error, "the simulator cannot draw");
    }
    file
}

/// Returns the scene's pixels, three bytes each, row by row.
pub(super) fn pixels(scene: &Scene) -> Vec<u8> {
    let painter = Painter::new(scene);
    let (width, height) = (scene.width as usize, scene.height as usize);
    let mut pixels = vec![0; width * height * 3];
    for (y, row) in pixels.chunks_exact_mut(width * 3).enumerate() {
        painter.row(y, row);
    }
    pixels
}

/// Returns a number that is the same for the same text.
pub(super) fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn encode(scene: &Scene, extras: &Extras, file: &mut Vec<u8>) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(&mut *file, scene.width, scene.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Up);
    for (key, text) in &extras.texts {
        encoder.add_text_chunk(key.clone(), text.clone())?;
    }
    let mut writer = encoder.write_header()?;
    if extras.noise > 0 {
        // A private chunk that every reader skips.
        writer.write_chunk(png::chunk::ChunkType(*b"noIs"), &noise(scene.seed, extras.noise))?;
    }
    let painter = Painter::new(scene);
    let mut row = vec![0; scene.width as usize * 3];
    let mut pixels = writer.stream_writer()?;
    for y in 0..scene.height as usize {
        painter.row(y, &mut row);
        std::io::Write::write_all(&mut pixels, &row)?;
    }
    pixels.finish()
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten().take(length).collect()
}

/// A generator of numbers that look random and are not.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from `low` to `high`.
    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.roll() >> 40) as f32 / (1 << 24) as f32)
    }
}

/// Everything about a scene that does not depend on the pixel.
struct Painter {
    plain: Option<[u8; 3]>,
    inverted: bool,
    grain: u64,
    sky: Vec<[u8; 3]>,
    glow: Vec<u16>,
    orb: [u8; 3],
    orb_y: i64,
    /// The squares of the columns' distances from the orb.
    columns: Vec<i64>,
    glow_shift: u32,
    /// Each column's crest in each layer, the nearest layer first.
    crests: Vec<[usize; LAYERS]>,
    /// The colours of each layer by depth below its crest.
    slopes: [Vec<[u8; 3]>; LAYERS],
    stars: Vec<(usize, usize, u8)>,
    water: Option<usize>,
    caption: Option<Caption>,
}

impl Painter {
    fn new(scene: &Scene) -> Self {
        let (width, height) = (scene.width as usize, scene.height as usize);
        let mut dice = Dice::new(scene.seed ^ hash_of(&scene.caption));
        let palette = Palette::of(&scene.caption, dice.roll());
        let horizon = height as f32 * dice.between(0.52, 0.62);
        let (orb_x, orb_y) = (width as f32 * dice.between(0.2, 0.8), horizon * dice.between(0.35, 0.8));
        let size = width.min(height) as f32;
        let radius = size * if palette.is_night { dice.between(0.035, 0.05) } else { dice.between(0.05, 0.08) };
        let (glow, glow_shift) = glow(radius, size * 0.75, palette.is_night);
        let plain = scene.plain.map(|color| bytes(rgb(u32::try_from(color & 0xff_ff_ff).unwrap_or(0))));
        let is_plain = plain.is_some();
        let columns = (0..width).map(|x| square(x as i64 - orb_x as i64)).collect();
        let mut painter = Self {
            plain,
            inverted: scene.inverted,
            grain: dice.roll(),
            sky: Vec::new(),
            glow,
            orb: bytes(palette.orb),
            orb_y: orb_y as i64,
            columns,
            glow_shift,
            crests: Vec::new(),
            slopes: Default::default(),
            stars: Vec::new(),
            water: palette.has_water.then_some((height as f32 * 0.8) as usize),
            caption: if is_plain { None } else { Caption::set(&scene.caption, width, height) },
        };
        if !is_plain {
            painter.sky = sky(&palette, height, horizon);
            painter.raise_ridges(&palette, &mut dice, (width, height), horizon);
            if palette.is_night {
                painter.light_stars(&mut dice, width, horizon);
            }
        }
        painter
    }

    fn raise_ridges(&mut self, palette: &Palette, dice: &mut Dice, (width, height): (usize, usize), horizon: f32) {
        self.crests = vec![[height; LAYERS]; width];
        let nearest_base = if self.water.is_some() { 0.86 } else { 0.9 };
        for layer in 0..LAYERS {
            // 0 is the nearest layer, 1 the farthest.
            let distance = layer as f32 / (LAYERS - 1) as f32;
            let base = height as f32 * nearest_base + (horizon - height as f32 * nearest_base) * distance.powf(0.8);
            let reach = height as f32 * (0.05 + 0.06 * (1.0 - (distance - 0.4).abs()));
            let waves = waves(dice, distance);
            for (x, crests) in self.crests.iter_mut().enumerate() {
                let along = x as f32 / width.max(height) as f32;
                let rise: f32 = waves.iter().map(|wave| wave.height(along)).sum();
                crests[layer] = (base - reach * rise).clamp(0.0, height as f32) as usize;
            }
            let crest = mix(palette.ridges[1], palette.ridges[0], distance.powf(1.3));
            let mist = mix(crest, palette.sky[2], 0.25 + 0.4 * distance);
            let fade = height as f32 * 0.22;
            self.slopes[layer] = (0..height).map(|depth| bytes(mix(crest, mist, depth as f32 / fade))).collect();
        }
    }

    fn light_stars(&mut self, dice: &mut Dice, width: usize, horizon: f32) {
        let count = (width as f32 * horizon / 2600.0) as usize;
        for _ in 0..count {
            let y = horizon * dice.between(0.0, 1.0).powf(1.5);
            let brightness = 40.0 + 200.0 * dice.between(0.0, 1.0).powf(4.0);
            self.stars.push((dice.between(0.0, width as f32) as usize, y as usize, brightness as u8));
        }
        self.stars.sort_unstable_by_key(|(x, y, _)| (*y, *x));
    }

    /// Paints one row.
    fn row(&self, y: usize, row: &mut [u8]) {
        if let Some(color) = self.plain {
            row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&color));
        } else {
            self.landscape(y, row);
            self.stars_of(y, row);
            if let Some(caption) = &self.caption {
                letter(caption, y, row);
            }
        }
        if self.inverted {
            row.iter_mut().for_each(|value| *value = 255 - *value);
        }
    }

    fn landscape(&self, y: usize, row: &mut [u8]) {
        let above = square(y as i64 - self.orb_y);
        let mut grain = self.grain ^ (y as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let is_water = self.water.is_some_and(|shore| y >= shore);
        let mirrored = if is_water { self.mirrored(y) } else { y };
        let ripple = if is_water { (grain >> 13) % 29 } else { 0 };
        let sky = self.sky[mirrored];
        for ((pixel, crests), across) in row.chunks_exact_mut(3).zip(&self.crests).zip(&self.columns) {
            grain = grain.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (grain >> 62) as u8;
            let layer = if is_water { None } else { crests.iter().position(|crest| *crest <= y) };
            let color = match layer {
                Some(layer) => self.slopes[layer][y - crests[layer]],
                None if is_water => self.sea(sky, *across, ripple),
                None => self.lit(sky, ((across + above) >> self.glow_shift) as usize),
            };
            for (value, color) in pixel.iter_mut().zip(color) {
                *value = color.saturating_add(noise);
            }
        }
    }

    /// Returns the row of the sky that the water shows.
    fn mirrored(&self, y: usize) -> usize {
        let shore = self.water.unwrap_or(y);
        shore.saturating_sub((y - shore) * 3).min(self.sky.len() - 1)
    }

    /// Adds the light of the sun or moon to a colour.
    fn lit(&self, color: [u8; 3], step: usize) -> [u8; 3] {
        let Some(share) = self.glow.get(step).copied().filter(|share| *share > 0) else { return color };
        blend(color, self.orb, share)
    }

    /// Returns the colour of water: darker than the sky, with a path of light below the orb.
    fn sea(&self, sky: [u8; 3], across: i64, ripple: u64) -> [u8; 3] {
        let dark = blend(sky, self.slopes[0][0], 110);
        let width = (self.columns.len() as i64 / 36) * (1 + ripple as i64 % 5);
        let is_glint = ripple > 9 && across < square(width);
        if is_glint { blend(dark, self.orb, 90 + (ripple as u16) * 3) } else { blend(dark, self.orb, (ripple as u16) / 3) }
    }

    fn stars_of(&self, y: usize, row: &mut [u8]) {
        let first = self.stars.partition_point(|(_, star, _)| *star < y);
        let stars = self.stars.iter().skip(first).take_while(|(_, star, _)| *star == y);
        for (x, _, brightness) in stars {
            let is_open = self.crests.get(*x).is_some_and(|crests| crests.iter().all(|crest| *crest > y));
            if let Some(pixel) = row.get_mut(x * 3..x * 3 + 3).filter(|_| is_open) {
                pixel.iter_mut().for_each(|value| *value = value.saturating_add(*brightness));
            }
        }
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
        let is_sharp = is_rock && octave > 0;
        waves.push(Wave { frequency, phase: dice.between(0.0, 6.3), strength, is_sharp });
        frequency *= dice.between(1.9, 2.3);
        strength *= if is_rock { 0.52 } else { 0.42 };
    }
    waves
}

fn sky(palette: &Palette, height: usize, horizon: f32) -> Vec<[u8; 3]> {
    let [top, middle, low] = palette.sky;
    let at = |y: usize| {
        let depth = y as f32 / horizon;
        bytes(if depth < 0.6 { mix(top, middle, depth / 0.6) } else { mix(middle, low, (depth - 0.6) / 0.4) })
    };
    (0..height).map(at).collect()
}

/// Returns the share of light (0 to 256) by the square of the distance, shifted by the number returned with it.
fn glow(radius: f32, reach: f32, is_night: bool) -> (Vec<u16>, u32) {
    let mut shift = 0;
    while ((reach * reach) as u64) >> shift > GLOW_STEPS as u64 {
        shift += 1;
    }
    let strength = if is_night { 0.3 } else { 0.62 };
    let share = |step: usize| {
        let distance = (((step as u64) << shift) as f32).sqrt();
        let disk = (radius - distance + 0.5).clamp(0.0, 1.0);
        let halo = strength * (1.0 - (distance - radius).max(0.0) / (reach - radius)).clamp(0.0, 1.0).powi(3);
        (256.0 * disk.max(halo)) as u16
    };
    ((0..GLOW_STEPS).map(share).collect(), shift)
}

/// Darkens the strip behind a caption and puts its letters on top.
fn letter(caption: &Caption, y: usize, row: &mut [u8]) {
    let Some(depth) = y.checked_sub(caption.strip) else { return };
    let dark = u16::try_from((depth * 3).min(130)).unwrap_or(130);
    let has_letters = caption.has_row(y);
    let shadow = caption.shadow();
    for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
        let color = [pixel[0], pixel[1], pixel[2]];
        let is_letter = has_letters && caption.covers(x, y);
        let is_shadow = has_letters && !is_letter && x >= shadow && caption.covers(x - shadow, y - shadow);
        let painted = match (is_letter, is_shadow) {
            (true, _) => [248, 246, 240],
            (false, true) => blend(color, [0, 0, 0], 200),
            (false, false) => blend(color, [6, 8, 16], dark),
        };
        pixel.copy_from_slice(&painted);
    }
}

/// Mixes two colours; `share` of 256 is all of the second.
fn blend(from: [u8; 3], to: [u8; 3], share: u16) -> [u8; 3] {
    let share = share.min(256);
    std::array::from_fn(|at| ((u32::from(from[at]) * u32::from(256 - share) + u32::from(to[at]) * u32::from(share)) >> 8) as u8)
}

fn bytes(color: Rgb) -> [u8; 3] {
    color.map(|value| value.clamp(0.0, 252.0) as u8)
}

fn square(value: i64) -> i64 {
    value * value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show() {
        for (i, (t, s, w, h)) in [("a lighthouse above a sea of clouds, first light, long exposure", 20261u64, 768, 512), ("a glass garden on a quiet moon", 77, 640, 640), ("portrait of an old robot in a forest at dusk", 5, 1024, 1024), ("", 9, 512, 768)].into_iter().enumerate() {
            let scene = Scene { caption: t.into(), seed: s, width: w, height: h, ..Scene::default() };
            let start = std::time::Instant::now();
            let file = png(&scene, &Extras::default());
            println!("{t} {:?} {}", start.elapsed(), file.len());
            std::fs::write(format!("/tmp/p{i}.png"), &file).unwrap();
            std::fs::write(format!("/tmp/p{i}.jpg"), super::super::mosaic::jpeg(&scene, 12, 20)).unwrap();
        }
    }
}
