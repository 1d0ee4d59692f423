//! "Did you mean": the allowed word nearest to one that is not.

/// The nearest of `words`, if one is near enough to be meant: other case, other separators, or a slip in about
/// one letter of three.
pub fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if word.is_empty() || word.len() > LEN_MAX {
        return None;
    }
    let plain = fold(word);
    let distance_max = (plain.chars().count() / 3).max(1);
    words
        .into_iter()
        .filter(|candidate| candidate.len() <= LEN_MAX)
        .map(|candidate| (strsim::osa_distance(&plain, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= distance_max && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

/// Comparing takes time by the product of both lengths; nobody mistypes a word this long.
const LEN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["protocol", "protocol_port", "name", "id", "HTTP", "HTTPS"];
        for (word, expected) in [
            ("protocl_port", Some("protocol_port")),
            ("protocol-port", Some("protocol_port")),
            ("http", Some("HTTP")),
            ("HTPP", Some("HTTP")),
            ("nmae", Some("name")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
