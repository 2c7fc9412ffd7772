//! A validating scanner over JSON text (RFC 8259). It does not recurse and does not allocate, so
//! neither depth nor size of hostile input costs more than reading it once.

use std::ops::Range;

use super::string::{hex4, plain};

/// How deep arrays and objects may nest in text from outside. Phoenix has no limit of its own;
/// its recorded test nests 2,000 levels.
pub const MAX_DEPTH: usize = 4096;

/// Where JSON text stops being acceptable, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Offset in bytes.
    pub at: usize,
}

/// What is wrong with JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    #[error("unexpected end of JSON")]
    UnexpectedEnd,
    /// A byte that cannot stand there.
    #[error("unexpected character in JSON")]
    UnexpectedByte,
    /// A number that does not follow the grammar, or is too large for a double.
    #[error("invalid number")]
    Number,
    /// An unknown escape, or one with bad digits.
    #[error("invalid escape")]
    Escape,
    /// Half of a surrogate pair: it stands for no character.
    #[error("lone surrogate")]
    LoneSurrogate,
    /// A control character that has to be escaped.
    #[error("control character in a string")]
    ControlCharacter,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
}

/// The inside of a string, without its quotes.
pub(crate) struct StringSpan {
    pub(crate) span: Range<usize>,
    pub(crate) escaped: bool,
}

/// Reads one token or value after the other.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Checks the next value, however deep, and says where it stands.
    pub(crate) fn value(&mut self) -> Result<Range<usize>, JsonError> {
        let first = self.peek();
        let start = self.at;
        if !matches!(first, Some(b'{' | b'[')) {
            self.scalar()?;
            return Ok(start..self.at);
        }
        let mut open = OpenContainers::default();
        loop {
            if self.open_or_scalar(&mut open)? {
                continue;
            }
            while !open.is_empty() && self.closes(&open)? {
                open.pop();
            }
            if open.is_empty() {
                return Ok(start..self.at);
            }
        }
    }

    /// Reads a scalar or an empty container, or enters one that holds something (true).
    fn open_or_scalar(&mut self, open: &mut OpenContainers) -> Result<bool, JsonError> {
        let (object, close) = match self.peek() {
            Some(b'{') => (true, b'}'),
            Some(b'[') => (false, b']'),
            _ => return self.scalar().map(|()| false),
        };
        let at = self.at;
        self.at += 1;
        // An empty container is as deep as one that holds something.
        if open.depth == MAX_DEPTH {
            return Err(JsonError {
                kind: JsonErrorKind::TooDeep,
                at,
            });
        }
        if self.eat(close) {
            return Ok(false);
        }
        open.push(object);
        if object {
            self.key()?;
        }
        Ok(true)
    }

    /// After a value inside a container: true if the container ends, false if another value
    /// follows (its key is read).
    fn closes(&mut self, open: &OpenContainers) -> Result<bool, JsonError> {
        let object = open.innermost_is_object();
        if self.eat(if object { b'}' } else { b']' }) {
            return Ok(true);
        }
        self.expect(b',')?;
        if object {
            self.key()?;
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), JsonError> {
        self.string()?;
        self.expect(b':')
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.unexpected()),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, whose escapes are checked but not yet replaced.
    pub(crate) fn string(&mut self) -> Result<StringSpan, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error(JsonErrorKind::ControlCharacter)),
                None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
            }
            escaped = true;
        }
        let span = start..self.at;
        self.at += 1;
        Ok(StringSpan { span, escaped })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error(JsonErrorKind::Escape)),
        }
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        match self.unit(self.at)? {
            0xd800..=0xdbff if self.low_surrogate_follows() => self.at += 12,
            0xd800..=0xdfff => return Err(self.error(JsonErrorKind::LoneSurrogate)),
            _ => self.at += 6,
        }
        Ok(())
    }

    fn low_surrogate_follows(&self) -> bool {
        matches!(self.unit(self.at + 6), Ok(0xdc00..=0xdfff))
    }

    /// The UTF-16 code unit of the `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, JsonError> {
        let escape = self
            .bytes
            .get(at..at + 6)
            .filter(|escape| escape.starts_with(b"\\u"));
        hex4(escape.map(|escape| &escape[2..])).ok_or(self.error(JsonErrorKind::Escape))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += usize::from(self.bytes[self.at] == b'-');
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let integer_digits = self.digits()?;
        if leading_zero && integer_digits > 1 {
            return Err(JsonError {
                kind: JsonErrorKind::Number,
                at: start,
            });
        }
        let mut float = false;
        if self.bytes.get(self.at) == Some(&b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        if float {
            self.check_range(start)
        } else {
            Ok(())
        }
    }

    /// How many digits were there; at least one is.
    fn digits(&mut self) -> Result<usize, JsonError> {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 {
            Err(self.error(JsonErrorKind::Number))
        } else {
            Ok(count)
        }
    }

    /// Refuses floats beyond a double, as Erlang does: clients would read them as infinity.
    fn check_range(&self, start: usize) -> Result<(), JsonError> {
        let value = std::str::from_utf8(&self.bytes[start..self.at]).ok();
        match value.and_then(|text| text.parse::<f64>().ok()) {
            Some(number) if number.is_finite() => Ok(()),
            _ => Err(JsonError {
                kind: JsonErrorKind::Number,
                at: start,
            }),
        }
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }

    fn unexpected(&self) -> JsonError {
        self.error(match self.bytes.get(self.at) {
            Some(_) => JsonErrorKind::UnexpectedByte,
            None => JsonErrorKind::UnexpectedEnd,
        })
    }
}

/// The containers around the value that is being read: one bit each, set for objects.
struct OpenContainers {
    objects: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Default for OpenContainers {
    fn default() -> Self {
        Self {
            objects: [0; MAX_DEPTH / 64],
            depth: 0,
        }
    }
}

impl OpenContainers {
    fn push(&mut self, object: bool) {
        let bit = 1 << (self.depth % 64);
        let word = &mut self.objects[self.depth / 64];
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn is_empty(&self) -> bool {
        self.depth == 0
    }

    fn innermost_is_object(&self) -> bool {
        let at = self.depth - 1;
        self.objects[at / 64] >> (at % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests;
