//! Escaping and unescaping of JSON strings.

/// Appends `text` as a JSON string with its quotes. Escapes only what RFC 8259 requires.
pub fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    loop {
        let (as_it_is, special) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(as_it_is);
        let Some(&byte) = special.as_bytes().first() else {
            break;
        };
        write_escape(byte, out);
        rest = &special[1..];
    }
    out.push('"');
}

/// Bytes that are looked at together, in one register.
const BLOCK: usize = 16;

/// How many bytes in front stand in a JSON string as they are: up to a quote, a backslash or a
/// control character.
pub(crate) fn plain(bytes: &[u8]) -> usize {
    let is_special = |&byte: &u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a way out of a block, so that its bytes can be compared at once.
    let is_plain = |block: &&[u8]| {
        !block
            .iter()
            .fold(false, |found, byte| found | is_special(byte))
    };
    let blocks = bytes.chunks_exact(BLOCK).take_while(is_plain).count();
    let rest = &bytes[blocks * BLOCK..];
    blocks * BLOCK + rest.iter().position(is_special).unwrap_or(rest.len())
}

fn write_escape(byte: u8, out: &mut String) {
    let short = match byte {
        b'"' | b'\\' => char::from(byte),
        0x08 => 'b',
        0x09 => 't',
        0x0a => 'n',
        0x0c => 'f',
        0x0d => 'r',
        _ => return write_unicode_escape(byte, out),
    };
    out.push('\\');
    out.push(short);
}

fn write_unicode_escape(byte: u8, out: &mut String) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    out.push_str("\\u00");
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

/// The inside of a JSON string whose escapes the scanner has already found valid.
pub(crate) fn unescape(inside: &str) -> String {
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let (character, length) = read_escape(escape);
        out.push(character);
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

/// The character an escape stands for, and its length without the first backslash.
fn read_escape(escape: &str) -> (char, usize) {
    match escape.as_bytes().first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => read_unicode_escape(escape),
        Some(&other) => (char::from(other), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

fn read_unicode_escape(escape: &str) -> (char, usize) {
    let unit = |from: usize| hex4(escape.as_bytes().get(from..from + 4));
    let first = unit(1).unwrap_or_default();
    if let Some(character) = char::from_u32(first) {
        return (character, 5);
    }
    let second = unit(7).unwrap_or_default();
    let code = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
    (
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
        11,
    )
}

/// Four hexadecimal digits as a UTF-16 code unit.
pub(crate) fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |unit, &digit| {
        char::from(digit)
            .to_digit(16)
            .map(|value| unit << 4 | value)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write_json_string(text, &mut out);
        out
    }

    #[test]
    fn only_what_must_be_escaped_is() {
        assert_eq!(written("é😀</script>/\u{7f}"), "\"é😀</script>/\u{7f}\"");
        assert_eq!(
            written("\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}"),
            r#""\"\\\n\r\t\b\f\u0001\u001f""#
        );
    }

    #[test]
    fn what_is_special_is_found_wherever_it_stands() {
        for special in [0, 0x1f, b'"', b'\\'] {
            for at in 0..3 * BLOCK {
                let mut bytes = [b'\x7f'; 3 * BLOCK];
                assert_eq!(plain(&bytes[..at]), at);
                bytes[at] = special;
                assert_eq!(plain(&bytes), at, "{special}");
            }
        }
    }

    #[test]
    fn every_escape_is_read() {
        assert_eq!(unescape(r#"\"\\\/\b\f\n\r\t"#), "\"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(
            unescape(r"a\u0041\u00e9\ud83d\ude00z\uD83D\uDE00"),
            "aAé😀z😀"
        );
    }

    proptest! {
        #[test]
        fn serde_json_agrees(text in any::<String>()) {
            let json = written(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
            prop_assert_eq!(unescape(&json[1..json.len() - 1]), text);
        }
    }
}
