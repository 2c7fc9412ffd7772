//! Texts with names in braces.

/// Replaces `{name}`s. Braces around anything else, as JSON has them, stay.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// What is published again and again, with `{ref}` and `{content}` still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Reference,
    Content,
}

impl Template {
    pub(crate) fn new(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        loop {
            let open = [("{ref}", Piece::Reference), ("{content}", Piece::Content)];
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

    /// Appends the text; `content` writes the content.
    pub(crate) fn write(
        &self,
        reference: u64,
        out: &mut Vec<u8>,
        mut content: impl FnMut(&mut Vec<u8>),
    ) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Reference => write_decimal(reference, out),
                Piece::Content => content(out),
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
        let template = Template::new(r#"["{ref}",{"id":"a-{ref}","d":"{content}"}]"#);
        let mut out = Vec::new();
        template.write(120, &mut out, |out| out.extend_from_slice(b"hi"));
        assert_eq!(out, br#"["120",{"id":"a-120","d":"hi"}]"#);
        let mut out = Vec::new();
        Template::new("plain").write(0, &mut out, |_| unreachable!("there is no content"));
        assert_eq!(out, b"plain");
        let mut out = Vec::new();
        write_decimal(u64::MAX, &mut out);
        write_decimal(0, &mut out);
        assert_eq!(out, format!("{}0", u64::MAX).as_bytes());
    }
}
