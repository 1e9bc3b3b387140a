//! Chooses the colours and the kind of a drawn landscape from the words of a prompt and a seed.

/// Red, green and blue.
pub(super) type Rgb = [f32; 3];

/// What a landscape is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Palette {
    /// The sky from its top over its middle to the horizon.
    pub(super) sky: [Rgb; 3],
    /// The farthest and the nearest ridge.
    pub(super) ridges: [Rgb; 2],
    /// The sun or moon.
    pub(super) orb: Rgb,
    /// It is night: stars and a small, hard moon.
    pub(super) is_night: bool,
    /// The foreground is water.
    pub(super) has_water: bool,
}

struct Mood {
    words: &'static [&'static str],
    sky: [u32; 3],
    ridges: [u32; 2],
    orb: u32,
    is_night: bool,
}

const MOODS: &[Mood] = &[
    Mood {
        words: &["night", "moon", "star", "midnight", "dark", "galaxy", "space", "quiet"],
        sky: [0x06_0b_24, 0x14_22_4f, 0x4a_5f_8f],
        ridges: [0x34_47_74, 0x07_0c_1d],
        orb: 0xf6_f1_dc,
        is_night: true,
    },
    Mood {
        words: &["sunset", "dusk", "evening", "fire", "desert", "autumn", "warm", "mars", "dragon"],
        sky: [0x2b_1b_4d, 0xb2_3f_5c, 0xff_b0_5e],
        ridges: [0xa8_54_62, 0x1f_11_24],
        orb: 0xff_e9_b0,
        is_night: false,
    },
    Mood {
        words: &["dawn", "morning", "first", "light", "sunrise", "lighthouse", "cloud", "portrait", "pink"],
        sky: [0x3a_5b_96, 0xb8_9c_c4, 0xff_dc_c0],
        ridges: [0xa9_a0_c4, 0x2a_31_55],
        orb: 0xff_f4_da,
        is_night: false,
    },
    Mood {
        words: &["forest", "garden", "jungle", "tree", "moss", "spring", "meadow", "green", "cat", "fox"],
        sky: [0x4c_8f_a8, 0xa7_d3_c8, 0xf5_ef_cf],
        ridges: [0x8f_bd_a4, 0x10_2d_25],
        orb: 0xff_f9_e0,
        is_night: false,
    },
    Mood {
        words: &["sea", "ocean", "water", "lake", "river", "rain", "blue", "ship", "island", "glass"],
        sky: [0x14_4a_7c, 0x4f_9f_c4, 0xd9_f0_ee],
        ridges: [0x7f_b6_c9, 0x0c_2c_49],
        orb: 0xff_fd_f0,
        is_night: false,
    },
    Mood {
        words: &["snow", "winter", "ice", "mountain", "white", "cold", "frost", "mist", "fog"],
        sky: [0x6d_8d_b3, 0xb9_cd_e0, 0xf4_f3_f2],
        ridges: [0xc2_d2_e2, 0x2f_45_61],
        orb: 0xff_ff_fa,
        is_night: false,
    },
    Mood {
        words: &["city", "neon", "cyber", "robot", "future", "synth", "purple", "magic", "dream"],
        sky: [0x12_0a_38, 0x5c_1f_86, 0xff_6f_b1],
        ridges: [0x6a_2f_93, 0x0b_07_26],
        orb: 0xff_d0_ea,
        is_night: true,
    },
];

const WATER: &[&str] =
    &["sea", "ocean", "water", "lake", "river", "rain", "ship", "island", "lighthouse", "beach", "fish"];

impl Palette {
    /// Chooses by the words that a prompt holds; where none is known, by `chance`.
    pub(super) fn of(prompt: &str, chance: u64) -> Self {
        let prompt = prompt.to_lowercase();
        let words: Vec<&str> = prompt.split(|letter: char| !letter.is_alphanumeric()).collect();
        let holds = |known: &&str| words.iter().any(|word| word == known || word.strip_suffix('s') == Some(known));
        let score = |mood: &Mood| mood.words.iter().filter(|word| holds(word)).count();
        let best = MOODS.iter().map(score).max().unwrap_or(0);
        let suitable: Vec<&Mood> = MOODS.iter().filter(|mood| score(mood) == best).collect();
        let pick = usize::try_from(chance % 0xffff).unwrap_or(0) % suitable.len().max(1);
        let mood = suitable.get(pick).copied().unwrap_or(&MOODS[0]);
        Self {
            sky: mood.sky.map(rgb),
            ridges: mood.ridges.map(rgb),
            orb: rgb(mood.orb),
            is_night: mood.is_night,
            has_water: WATER.iter().any(holds) || (best == 0 && chance.is_multiple_of(3)),
        }
    }
}

/// Takes a colour such as `0xff8800` apart.
pub(super) fn rgb(color: u32) -> Rgb {
    let [_, red, green, blue] = color.to_be_bytes();
    [f32::from(red), f32::from(green), f32::from(blue)]
}

/// Mixes two colours; 0 gives the first.
pub(super) fn mix(from: Rgb, to: Rgb, share: f32) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|at| from[at] + (to[at] - from[at]) * share)
}

/// Mixes two colours; a share of 256 gives the second.
pub(super) fn blend(from: [u8; 3], to: [u8; 3], share: u16) -> [u8; 3] {
    let share = u32::from(share.min(256));
    std::array::from_fn(|at| {
        let sum = u32::from(from[at]) * (256 - share) + u32::from(to[at]) * share;
        u8::try_from(sum >> 8).unwrap_or(u8::MAX)
    })
}

/// Rounds a colour to whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
pub(super) fn bytes(color: Rgb) -> [u8; 3] {
    color.map(|value| value.clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_the_mood() {
        assert!(Palette::of("a glass garden on a quiet moon", 5).is_night);
        assert!(Palette::of("Boats, on LAKES!", 1).has_water);
        assert_eq!(Palette::of("snow", 1), Palette::of("snow", 2));
        assert_eq!(Palette::of("", 4), Palette::of("", 4));
    }
}
