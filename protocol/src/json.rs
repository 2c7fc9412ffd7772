//! JSON as text: checked where it stands, and taken apart into slices, never into a tree.

mod scan;
mod string;

use std::ops::Range;

use bytestring::ByteString;

pub(crate) use scan::Scanner;
pub use scan::{JsonError, JsonErrorKind, MAX_DEPTH};
pub use string::write_json_string;

use crate::opaque::Opaque;
use crate::payload::Json;

/// Checks that `text` is one JSON value with nothing but white space around it; says where it is.
pub(crate) fn validate(text: &str) -> Result<Range<usize>, JsonError> {
    let mut scanner = Scanner::new(text);
    let span = scanner.value()?;
    scanner.end()?;
    Ok(span)
}

/// Reads a whole text as one opaque value.
pub(crate) fn parse_opaque(text: &ByteString) -> Result<Opaque, JsonError> {
    let mut reader = Reader::new(text);
    let value = reader.opaque()?;
    reader.end()?;
    Ok(value)
}

/// A scanner that hands out shared slices of the text it reads.
pub(crate) struct Reader<'a> {
    text: &'a ByteString,
    scanner: Scanner<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a ByteString) -> Self {
        Self {
            text,
            scanner: Scanner::new(text),
        }
    }

    /// The next value, as the JSON it is.
    pub(crate) fn json(&mut self) -> Result<Json, JsonError> {
        let span = self.scanner.value()?;
        Ok(Json::trusted(self.slice(span)))
    }

    /// The next value, strings unescaped.
    pub(crate) fn opaque(&mut self) -> Result<Opaque, JsonError> {
        if self.scanner.peek() == Some(b'"') {
            return self.string().map(Opaque::Text);
        }
        let span = self.scanner.value()?;
        Ok(match &self.text[span.clone()] {
            "null" => Opaque::Null,
            _ => Opaque::Other(self.slice(span)),
        })
    }

    /// The next value, which has to be a string, unescaped.
    pub(crate) fn string(&mut self) -> Result<ByteString, JsonError> {
        let found = self.scanner.string()?;
        if found.escaped {
            Ok(string::unescape(&self.text[found.span]).into())
        } else {
            Ok(self.slice(found.span))
        }
    }

    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        self.scanner.value().map(drop)
    }

    /// The next byte that is not white space, which is not consumed.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.scanner.peek()
    }

    /// Consumes `byte` if it comes next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        self.scanner.eat(byte)
    }

    /// Consumes `byte`, which has to come next.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        self.scanner.expect(byte)
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.scanner.end()
    }

    fn slice(&self, span: Range<usize>) -> ByteString {
        self.text.slice_ref(&self.text[span])
    }
}
