//! Words of a text, for search by prefix: case is folded, and every ideograph begins a word.

/// What is searched for: every word must begin a word of the text.
#[derive(Debug)]
pub(super) struct Query {
    words: Vec<String>,
}

impl Query {
    /// Splits a query into words; `None` if it has none.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let folded = fold(query);
        let words: Vec<String> = folded
            .split(|c| !is_word(c))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        (!words.is_empty()).then_some(Self { words })
    }

    /// Whether each word of the query begins a word of the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let folded = fold(text);
        let begins = |word: &String| starts(&folded).any(|at| folded[at..].starts_with(&**word));
        self.words.iter().all(begins)
    }
}

/// Upper case first, so that letters with two lower forms (σ and ς) and ß meet in one.
fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase().replace('ς', "σ")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_mark(c)
}

/// Combining marks belong to the letter before them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}' | '\u{93c}' | '\u{94d}' | '\u{200d}')
}

/// Scripts that are written without spaces between words.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// The byte positions at which words begin.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let mut before = ' ';
    text.char_indices().filter_map(move |(at, c)| {
        let begins = is_word(c) && (!is_word(before) || is_ideograph(c) || is_ideograph(before));
        before = c;
        begins.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> bool {
        Query::parse(query).is_some_and(|query| query.matches(text))
    }

    #[test]
    fn every_word_must_begin_a_word() {
        assert!(found("qui fox", "The quick brown fox"));
        assert!(!found("uick", "The quick brown fox"));
        assert!(!found("quick dog", "The quick brown fox"));
        assert!(found("(fox)", "a fox!"));
    }

    #[test]
    fn case_is_folded_in_every_script() {
        assert!(found("ÉCO", "une école"));
        assert!(found("straße", "STRASSE 5"));
        assert!(found("ΣΊΣΥΦΟΣ", "ο σίσυφος"));
        assert!(found("привет", "ПРИВЕТ, мир"));
    }

    #[test]
    fn scripts_without_spaces_are_found_inside_a_run() {
        assert!(found("世界", "你好世界"));
        assert!(found("世", "hello世界"));
        assert!(!found("界世", "你好世界"));
    }

    proptest::proptest! {
        /// Whatever the script: a text is found by each of its words, and by their beginnings.
        #[test]
        fn a_text_is_found_by_the_beginnings_of_its_words(text: String, cut in 1usize..20) {
            for word in fold(&text).split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
                let beginning: String = word.chars().take(cut).collect();
                assert!(found(word, &text), "{word:?} in {text:?}");
                assert!(found(&beginning, &text), "{beginning:?} in {text:?}");
            }
        }
    }

    #[test]
    fn a_query_without_words_is_none() {
        assert!(Query::parse("  ... !").is_none());
    }
}
