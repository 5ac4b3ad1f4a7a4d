//! Distinguished names: kept as raw bytes when read, built in the usual order when made.

use super::Malformed;
use super::oid::{self, Oid};
use super::tlv::{self, Element};
use std::fmt;

/// A distinguished name exactly as it was encoded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    der: Vec<u8>,
}

/// One attribute of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its type.
    pub oid: Oid,
    /// Its value as text; values that are no text are `#` and the hex digits of their encoding.
    pub value: String,
    /// Number of the relative name that it belongs to; attributes of one multi-valued name share it.
    pub set: usize,
    /// Whether the value was text.
    pub is_text: bool,
    /// The tag number of the value.
    pub tag: u8,
}

/// The parts of a name to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameParts {
    /// Country codes.
    pub country: Vec<String>,
    /// Organisations.
    pub organization: Vec<String>,
    /// Organisational units.
    pub organizational_unit: Vec<String>,
    /// Localities.
    pub locality: Vec<String>,
    /// States or provinces.
    pub province: Vec<String>,
    /// Street addresses.
    pub street_address: Vec<String>,
    /// Postal codes.
    pub postal_code: Vec<String>,
    /// The serial number of the subject (not of the certificate).
    pub serial_number: String,
    /// The common name; empty for none.
    pub common_name: String,
    /// Further attributes, each a relative name of its own, in this order.
    pub extra: Vec<(Oid, String)>,
}

impl Name {
    /// The empty name.
    pub fn empty() -> Self {
        Self { der: vec![tlv::SEQUENCE, 0] }
    }

    /// A name with a common name only.
    pub fn with_common_name(common_name: &str) -> Self {
        NameParts { common_name: common_name.to_owned(), ..NameParts::default() }.to_name()
    }

    /// From its whole encoding.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_NAME {
            return Err(Malformed::new("name", "it is too long"));
        }
        let name = Self { der: der.to_vec() };
        name.read()?;
        Ok(name)
    }

    /// Its whole encoding.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it has no attribute.
    pub fn is_empty(&self) -> bool {
        self.der == [tlv::SEQUENCE, 0]
    }

    /// Its attributes in order.
    pub fn attributes(&self) -> Vec<Attribute> {
        // What could be constructed could be read.
        self.read().unwrap_or_default()
    }

    /// The value of the last common name.
    pub fn common_name(&self) -> Option<String> {
        self.values(&oid::COMMON_NAME).pop()
    }

    /// All values of one type, in order.
    pub fn values(&self, oid: &Oid) -> Vec<String> {
        self.attributes()
            .into_iter()
            .filter(|attribute| attribute.oid == *oid)
            .map(|attribute| attribute.value)
            .collect()
    }

    fn read(&self) -> Result<Vec<Attribute>, Malformed> {
        let mut attributes = Vec::new();
        let mut sets = Element::only_tagged(&self.der, tlv::SEQUENCE, "name")?.read("name");
        let mut set = 0;
        while !sets.is_empty() {
            let mut pairs = sets.expect(tlv::SET)?.read("name");
            if pairs.is_empty() {
                return Err(Malformed::new("name", "a relative name is empty"));
            }
            while !pairs.is_empty() {
                let mut pair = pairs.expect(tlv::SEQUENCE)?.read("name");
                let oid = Oid::from_content(pair.expect(tlv::OID)?.content)?;
                let value = pair.element()?;
                pair.end()?;
                let text = text(&value);
                attributes.push(Attribute {
                    oid,
                    is_text: text.is_some(),
                    tag: value.tag & 0x1f,
                    value: text.unwrap_or_else(|| format!("#{}", hex(value.whole))),
                    set,
                });
            }
            set += 1;
        }
        Ok(attributes)
    }
}

/// RFC 4514: last attribute first, `+` inside multi-valued relative names.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes = self.attributes();
        let sets = attributes.last().map_or(0, |last| last.set + 1);
        for set in (0..sets).rev() {
            if set + 1 < sets {
                f.write_str(",")?;
            }
            let members = attributes.iter().filter(|attribute| attribute.set == set);
            for (index, attribute) in members.enumerate() {
                if index > 0 {
                    f.write_str("+")?;
                }
                match short_name(&attribute.oid) {
                    Some(name) => f.write_str(name)?,
                    None => write!(f, "{}", attribute.oid)?,
                }
                f.write_str("=")?;
                if attribute.is_text {
                    write_escaped(f, &attribute.value)?;
                } else {
                    f.write_str(&attribute.value)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl NameParts {
    /// The name with these parts in the order C, O, OU, L, ST, street, postal code, CN, serial number, extra; empty parts are left out.
    ///
    /// Several values of one part make one multi-valued relative name, as the reference writes them.
    pub fn to_name(&self) -> Name {
        let mut sets = Vec::new();
        let lists = [
            (&oid::COUNTRY, &self.country),
            (&oid::ORGANIZATION, &self.organization),
            (&oid::ORGANIZATIONAL_UNIT, &self.organizational_unit),
            (&oid::LOCALITY, &self.locality),
            (&oid::STATE, &self.province),
            (&oid::STREET, &self.street_address),
            (&oid::POSTAL_CODE, &self.postal_code),
        ];
        for (oid, values) in lists {
            let mut members: Vec<Vec<u8>> =
                values.iter().filter(|value| !value.is_empty()).map(|value| attribute(oid, value)).collect();
            if !members.is_empty() {
                // DER orders the members of a SET by their encodings.
                members.sort();
                members.dedup();
                sets.push(tlv::constructed(tlv::SET, &members));
            }
        }
        let singles = [(&oid::COMMON_NAME, &self.common_name), (&oid::SERIAL_NUMBER, &self.serial_number)];
        let extra = self.extra.iter().map(|(oid, value)| (oid, value));
        for (oid, value) in singles.into_iter().chain(extra) {
            if !value.is_empty() {
                sets.push(tlv::constructed(tlv::SET, &[attribute(oid, value)]));
            }
        }
        Name { der: tlv::sequence(&sets) }
    }
}

/// The short name of an attribute type, for example `CN`.
pub fn short_name(oid: &Oid) -> Option<&'static str> {
    SHORT_NAMES.iter().find(|(known, _)| known == oid).map(|(_, name)| *name)
}

/// A name longer than this comes from nobody honest.
const MAX_NAME: usize = 16 * 1024;

static SHORT_NAMES: [(Oid, &str); 15] = [
    (oid::COMMON_NAME, "CN"),
    (oid::SURNAME, "SN"),
    (oid::SERIAL_NUMBER, "serialNumber"),
    (oid::COUNTRY, "C"),
    (oid::LOCALITY, "L"),
    (oid::STATE, "ST"),
    (oid::STREET, "street"),
    (oid::ORGANIZATION, "O"),
    (oid::ORGANIZATIONAL_UNIT, "OU"),
    (oid::TITLE, "title"),
    (oid::POSTAL_CODE, "postalCode"),
    (oid::GIVEN_NAME, "GN"),
    (oid::USER_ID, "UID"),
    (oid::DOMAIN_COMPONENT, "DC"),
    (oid::EMAIL_ADDRESS, "emailAddress"),
];

fn attribute(oid: &Oid, value: &str) -> Vec<u8> {
    let ia5 = [oid::DOMAIN_COMPONENT, oid::EMAIL_ADDRESS].contains(oid) && value.is_ascii();
    // RFC 5280 demands PrintableString for these two, the others may be UTF-8.
    let printable = [oid::COUNTRY, oid::SERIAL_NUMBER].contains(oid) || !ia5;
    let tag = if ia5 {
        tlv::IA5_STRING
    } else if printable && value.bytes().all(is_printable) {
        tlv::PRINTABLE_STRING
    } else {
        tlv::UTF8_STRING
    };
    tlv::sequence(&[oid.to_der(), tlv::tlv(tag, value.as_bytes())])
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

fn text(value: &Element<'_>) -> Option<String> {
    let bytes = value.content;
    match value.tag {
        tlv::UTF8_STRING => String::from_utf8(bytes.to_vec()).ok(),
        tlv::PRINTABLE_STRING | tlv::IA5_STRING | 0x12 | 0x1a => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // Written as Latin-1 by everybody who still writes it.
        tlv::TELETEX_STRING => Some(bytes.iter().copied().map(char::from).collect()),
        tlv::BMP_STRING => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().copied().map(u16::from_be_bytes).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        tlv::UNIVERSAL_STRING => {
            let (units, rest) = bytes.as_chunks::<4>();
            rest.is_empty()
                .then(|| units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect())
                .flatten()
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_escaped(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (index, char) in value.chars().enumerate() {
        let at_edge = (index == 0 && (char == ' ' || char == '#')) || (index == last && char == ' ');
        if at_edge || "\",+;<>\\=".contains(char) {
            write!(f, "\\{char}")?;
        } else if char.is_control() {
            let mut buffer = [0; 4];
            for byte in char.encode_utf8(&mut buffer).bytes() {
                write!(f, "\\{byte:02x}")?;
            }
        } else {
            write!(f, "{char}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_stand_in_the_order_of_the_reference() {
        let name = NameParts {
            country: vec!["CH".into()],
            organization: vec!["Lab".into()],
            organizational_unit: vec!["two".into(), "one".into()],
            locality: vec!["Bern".into()],
            province: vec!["BE".into()],
            street_address: vec!["Gasse 1".into()],
            postal_code: vec!["3000".into()],
            serial_number: "42".into(),
            common_name: "svc".into(),
            extra: vec![(oid::EMAIL_ADDRESS, "a@b".into()), ("1.2.3.4".parse().unwrap(), "x".into())],
        }
        .to_name();
        assert_eq!(
            name.to_string(),
            "1.2.3.4=x,emailAddress=a@b,serialNumber=42,CN=svc,postalCode=3000,street=Gasse 1,ST=BE,L=Bern,OU=one+OU=two,O=Lab,C=CH"
        );
        assert_eq!(Name::from_der(name.as_der()).unwrap(), name);
    }

    #[test]
    fn values_take_the_narrowest_string_that_holds_them() {
        let tag = |oid: Oid, value: &str| {
            let name = NameParts { extra: vec![(oid, value.into())], ..NameParts::default() }.to_name();
            let attribute = name.attributes().remove(0);
            assert_eq!(attribute.value, value);
            attribute.tag
        };
        assert_eq!(tag(oid::COMMON_NAME, "svc.lab"), tlv::PRINTABLE_STRING);
        assert_eq!(tag(oid::COMMON_NAME, "*.lab"), tlv::UTF8_STRING);
        assert_eq!(tag(oid::COMMON_NAME, "Läb"), tlv::UTF8_STRING);
        assert_eq!(tag(oid::EMAIL_ADDRESS, "a@b"), tlv::IA5_STRING);
        assert_eq!(tag(oid::DOMAIN_COMPONENT, "lab"), tlv::IA5_STRING);
    }

    #[test]
    fn what_would_be_misread_is_escaped() {
        for (value, shown) in [
            ("a,b", "CN=a\\,b"),
            ("#a", "CN=\\#a"),
            (" a ", "CN=\\ a\\ "),
            ("a+b=c", "CN=a\\+b\\=c"),
            ("a\nb", "CN=a\\0ab"),
            ("\"\\<>;", "CN=\\\"\\\\\\<\\>\\;"),
        ] {
            assert_eq!(Name::with_common_name(value).to_string(), shown);
        }
    }

    #[test]
    fn old_strings_are_read_and_what_is_no_text_is_shown_in_hex() {
        let name = |tag: u8, value: &[u8]| {
            let pair = tlv::sequence(&[oid::COMMON_NAME.to_der(), tlv::tlv(tag, value)]);
            Name::from_der(&tlv::sequence(&[tlv::constructed(tlv::SET, &[pair])])).unwrap().to_string()
        };
        assert_eq!(name(tlv::BMP_STRING, &[0, b'a', 0, 0xe4]), "CN=aä");
        assert_eq!(name(tlv::TELETEX_STRING, &[0xe4]), "CN=ä");
        assert_eq!(name(tlv::UNIVERSAL_STRING, &[0, 0, 0, b'a']), "CN=a");
        assert_eq!(name(tlv::UTF8_STRING, &[0xff]), "CN=#0c01ff");
        assert_eq!(name(tlv::OCTET_STRING, &[1]), "CN=#040101");
    }

    #[test]
    fn the_empty_name_is_empty() {
        assert!(Name::empty().is_empty());
        assert_eq!(NameParts::default().to_name(), Name::empty());
        assert_eq!(Name::empty().to_string(), "");
        assert_eq!(Name::empty().common_name(), None);
    }

    proptest! {
        #[test]
        fn any_common_name_is_read_back(value in ".{1,40}") {
            let name = Name::with_common_name(&value);
            prop_assert_eq!(name.common_name(), Some(value));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), tag: u8) {
            let pair = tlv::sequence(&[oid::COMMON_NAME.to_der(), tlv::tlv(tag, &bytes)]);
            for der in [tlv::sequence(&[tlv::constructed(tlv::SET, &[pair])]), tlv::sequence(&[&bytes]), bytes.clone()] {
                if let Ok(name) = Name::from_der(&der) {
                    let _ = name.to_string();
                    prop_assert_eq!(name.as_der(), der.as_slice());
                }
            }
        }
    }
}
