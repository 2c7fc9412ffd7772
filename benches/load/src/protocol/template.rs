//! Texts with names in braces.

use uuid::Uuid;

use crate::mark::Mark;

/// Replaces `{name}`s. Braces around anything else, as JSON has them, stay.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// What is published again and again, with `{ref}`, `{uuid}` and `{content}` still
/// open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Reference,
    Uuid,
    Content,
}

/// What is filled into a template.
pub(crate) struct Filling<'a> {
    /// The number by which the message's answer is known.
    pub(crate) reference: u64,
    /// The message itself.
    pub(crate) mark: &'a Mark,
    /// Its size.
    pub(crate) size: usize,
    /// When it is said to have been made, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

impl Template {
    pub(crate) fn new(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        loop {
            let open = [
                ("{ref}", Piece::Reference),
                ("{uuid}", Piece::Uuid),
                ("{content}", Piece::Content),
            ];
            let next = open
                .into_iter()
                .filter_map(|(name, piece)| Some((text.find(name)?, name.len(), piece)))
                .min_by_key(|(at, ..)| *at);
            let Some((at, length, piece)) = next else {
                pieces.push(Piece::Text(text.into()));
                return Self { pieces };
            };
            pieces.extend([Piece::Text(text[..at].into()), piece]);
            text = &text[at + length..];
        }
    }

    /// Appends the text.
    pub(crate) fn write(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Reference => write_decimal(filling.reference, out),
                Piece::Uuid => {
                    let uuid = filling.mark.uuid(filling.unix_ms).hyphenated();
                    let mut text = Uuid::encode_buffer();
                    out.extend_from_slice(uuid.encode_lower(&mut text).as_bytes());
                }
                Piece::Content => filling.mark.write(filling.size, out),
            }
        }
    }
}

fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_and_json_stays() {
        let text = fill(r#"{"room":"{room}","x":{}}"#, &[("room", "7"), ("y", "z")]);
        assert_eq!(text, r#"{"room":"7","x":{}}"#);
    }

    #[test]
    fn references_and_contents_are_written_where_they_belong() {
        let mark = Mark {
            run: 1,
            room: 2,
            sender: 3,
            n: 4,
            at: 5,
        };
        let filling = Filling {
            reference: 120,
            mark: &mark,
            size: 0,
            unix_ms: 0x0123_4567_89ab,
        };
        let template = Template::new(r#"["{ref}",{"id":"a-{ref}","u":"{uuid}","d":"{content}"}]"#);
        let mut out = Vec::new();
        template.write(&filling, &mut out);
        let mut content = Vec::new();
        mark.write(0, &mut content);
        let content = String::from_utf8(content).unwrap();
        let uuid = mark.uuid(filling.unix_ms);
        let expected = format!(r#"["120",{{"id":"a-120","u":"{uuid}","d":"{content}"}}]"#);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        Template::new("plain").write(&filling, &mut out);
        assert_eq!(out, b"plain");
        let mut out = Vec::new();
        write_decimal(u64::MAX, &mut out);
        write_decimal(0, &mut out);
        assert_eq!(out, format!("{}0", u64::MAX).as_bytes());
    }
}
