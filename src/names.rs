//! The spellings of names: `imageCount` and `image_count` are one name, and a wrong name is near a right one.

/// Returns the one spelling under which a name is known: `imageCount`, `image-count` and `image_count` are the same.
pub fn canonical(name: &str) -> String {
    let mut result = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_small {
            result.push('_');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        result.push(if letter == '-' { '_' } else { letter.to_ascii_lowercase() });
    }
    result
}

/// Returns the known name that is nearest to `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = canonical(&shown(name));
    let near_enough = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|other| (distance(&name, &canonical(other)), other));
    distances.filter(|(distance, _)| *distance <= near_enough).min().map(|(_, other)| other)
}

/// Returns a name as it may stand in a message: without control characters and not too long.
pub fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let mut text: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() {
        text.push_str("...");
    }
    text
}

/// Returns the first `most` characters of a text, with three points where there are more.
pub fn cut(text: &str, most: usize) -> String {
    let mut start: String = text.chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        start.push_str("...");
    }
    start
}

/// Returns ``, did you mean `x`?`` or a list of what there is.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("; did you mean `{near}`?");
    }
    there_are(known)
}

/// Returns a list of what there is, cut where it grows long.
pub fn there_are<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    let mut known = known.into_iter();
    let mut all: Vec<String> = known.by_ref().take(MOST).map(shown).collect();
    all.extend(known.next().map(|_| "...".to_owned()));
    if all.is_empty() { "; there are none".to_owned() } else { format!("; there are: {}", all.join(", ")) }
}

/// Counts the letters to insert, remove, replace or swap with a neighbour to make one word of the other, of which only
/// the start is looked at.
fn distance(one: &str, other: &str) -> usize {
    let start: String = other.chars().take(128).collect();
    strsim::osa_distance(one, &start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_and_snake_case_are_one_name() {
        for (given, expected) in [
            ("imageCount", "image_count"),
            ("image_count", "image_count"),
            ("image-count", "image_count"),
            ("ImageCount", "image_count"),
            ("CFG", "cfg"),
            ("lora2Strength", "lora2_strength"),
            ("größe", "größe"),
        ] {
            assert_eq!(canonical(given), expected);
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["prompt", "steps", "negative_prompt", "image_count"];
        for (given, near) in [
            ("promt", Some("prompt")),
            ("propmt", Some("prompt")),
            ("step", Some("steps")),
            ("negativPrompt", Some("negative_prompt")),
            ("imagesCount", Some("image_count")),
            ("client_id", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), near, "{given}");
        }
        assert_eq!(hint("client_id", ["prompt", "steps"]), "; there are: prompt, steps");
    }

    #[test]
    fn a_hostile_name_is_shown_short_and_escaped() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(shown(&"x".repeat(10_000)).len(), 67);
        assert_eq!(nearest(&"x".repeat(10_000), ["prompt"]), None);
    }
}
