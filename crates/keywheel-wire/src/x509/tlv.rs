//! Tag, length and value: a reader that keeps the exact bytes of every element, and a writer.

use super::Malformed;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const TELETEX_STRING: u8 = 0x14;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
pub(crate) const BMP_STRING: u8 = 0x1e;

/// A primitive context-specific tag, `[n] IMPLICIT` of something primitive.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A constructed context-specific tag, `[n]` around something.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One element: its tag, its content, and the whole of it as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The only element of `bytes`.
    pub(crate) fn only(bytes: &'a [u8], what: &'static str) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, what);
        let element = reader.element()?;
        reader.end()?;
        Ok(element)
    }

    /// The only element of `bytes`, which must have this tag.
    pub(crate) fn only_tagged(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Self, Malformed> {
        let element = Self::only(bytes, what)?;
        if element.tag == tag { Ok(element) } else { Err(Malformed::new(what, "unexpected tag")) }
    }

    /// A reader over the content.
    pub(crate) fn read(&self, what: &'static str) -> Reader<'a> {
        Reader::new(self.content, what)
    }
}

/// Reads elements one after the other.
///
/// Lengths must be definite and minimal, tags must be single octets: what breaks these rules cannot be sliced safely.
/// Whatever else DER demands of contents is the business of who reads them.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn malformed(&self, problem: &'static str) -> Malformed {
        Malformed::new(self.what, problem)
    }

    pub(crate) fn element(&mut self) -> Result<Element<'a>, Malformed> {
        let (tag, header, length) = header(self.rest).map_err(|problem| self.malformed(problem))?;
        let end = header
            .checked_add(length)
            .filter(|end| *end <= self.rest.len())
            .ok_or_else(|| self.malformed("an element ends after its container"))?;
        let (whole, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Element { tag, content: &whole[header..], whole })
    }

    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Malformed> {
        match self.optional(tag)? {
            Some(element) => Ok(element),
            None if self.is_empty() => Err(self.malformed("an element is missing")),
            None => Err(self.malformed("unexpected tag")),
        }
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) { self.element().map(Some) } else { Ok(None) }
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed("unexpected bytes at the end")) }
    }
}

/// An element from its tag and content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out.extend_from_slice(content);
    out
}

/// A constructed element from its parts.
pub(crate) fn constructed<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let content: Vec<u8> = parts.iter().flat_map(|part| part.as_ref()).copied().collect();
    tlv(tag, &content)
}

/// A SEQUENCE from its parts.
pub(crate) fn sequence<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    constructed(SEQUENCE, parts)
}

/// An INTEGER from an unsigned big-endian number.
pub(crate) fn unsigned_integer(number: &[u8]) -> Vec<u8> {
    let skip = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[skip..];
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|first| *first >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    tlv(INTEGER, &content)
}

/// A BIT STRING without unused bits.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(bytes.len() + 1);
    content.push(0);
    content.extend_from_slice(bytes);
    tlv(BIT_STRING, &content)
}

/// The bytes of a BIT STRING's content that must have no unused bits.
pub(crate) fn whole_bytes<'a>(content: &'a [u8], what: &'static str) -> Result<&'a [u8], Malformed> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Malformed::new(what, "a bit string is not whole octets")),
    }
}

/// A small non-negative INTEGER.
pub(crate) fn small_unsigned(content: &[u8], what: &'static str) -> Result<u64, Malformed> {
    let skip = content.iter().take_while(|byte| **byte == 0).count();
    let negative = content.first().is_some_and(|first| *first >= 0x80);
    if content.is_empty() || negative || content.len() - skip > 8 {
        return Err(Malformed::new(what, "a number is out of range"));
    }
    Ok(content[skip..].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

/// Tag, length of the header and length of the content.
fn header(bytes: &[u8]) -> Result<(u8, usize, usize), &'static str> {
    let (&tag, rest) = bytes.split_first().ok_or("an element is missing")?;
    if tag & 0x1f == 0x1f {
        return Err("a tag has several octets");
    }
    let (&first, rest) = rest.split_first().ok_or("an element has no length")?;
    if first < 0x80 {
        return Ok((tag, 2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 {
        return Err("a length is indefinite");
    }
    if count > 4 {
        return Err("a length is too large");
    }
    let digits = rest.get(..count).ok_or("a length is cut off")?;
    let length = digits.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
    if digits[0] == 0 || length < 0x80 {
        return Err("a length is not minimal");
    }
    Ok((tag, 2 + count, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tag in 0u8..0x1f, content in proptest::collection::vec(any::<u8>(), 0..400)) {
            let whole = tlv(tag, &content);
            let element = Element::only(&whole, "thing").unwrap();
            prop_assert_eq!(element.tag, tag);
            prop_assert_eq!(element.content, content.as_slice());
            prop_assert_eq!(element.whole, whole.as_slice());
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes, "thing");
            while reader.element().is_ok() {}
        }
    }

    #[test]
    fn lengths_that_hide_their_end_are_refused() {
        for (bytes, problem) in [
            (&[0x30, 0x80, 0, 0][..], "a length is indefinite"),
            (&[0x30, 0x81, 0x01, 0][..], "a length is not minimal"),
            (&[0x30, 0x82, 0x00, 0x81][..], "a length is not minimal"),
            (&[0x30, 0x85, 1, 1, 1, 1, 1][..], "a length is too large"),
            (&[0x30, 0x02, 0][..], "an element ends after its container"),
            (&[0x1f, 0x01, 0][..], "a tag has several octets"),
        ] {
            assert_eq!(Element::only(bytes, "thing").unwrap_err().problem, problem);
        }
    }

    #[test]
    fn integers_are_minimal_and_positive() {
        assert_eq!(unsigned_integer(&[]), [2, 1, 0]);
        assert_eq!(unsigned_integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned_integer(&[0x80]), [2, 2, 0, 0x80]);
    }
}
