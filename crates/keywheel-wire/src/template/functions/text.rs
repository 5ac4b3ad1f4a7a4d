//! Functions on texts.

use base64ct::{Base64, Base64Url, Encoding};
use gotmpl::Value as Item;

use super::{Given, Outcome, Table};

/// What makes one text of another.
type Change = fn(&str) -> String;

pub(super) fn add(table: &mut Table) {
    add_one_argument(table);
    add_trims(table);
    add_tests(table);
    add_parts(table);
    add_encodings(table);
}

fn add_one_argument(table: &mut Table) {
    let changes: [(&'static str, Change); 10] = [
        ("trim", |text| text.trim().to_owned()),
        ("upper", str::to_uppercase),
        ("lower", str::to_lowercase),
        ("title", title),
        ("untitle", |text| each_word(text, |first| first.to_lowercase().to_string())),
        ("nospace", |text| text.split_whitespace().collect()),
        ("snakecase", |text| words(text).join("_")),
        ("kebabcase", |text| words(text).join("-")),
        ("camelcase", |text| words(text).iter().map(|word| title(word)).collect()),
        ("swapcase", |text| {
            text.chars()
                .flat_map(|letter| {
                    let swapped: String = if letter.is_uppercase() {
                        letter.to_lowercase().collect()
                    } else {
                        letter.to_uppercase().collect()
                    };
                    swapped.chars().collect::<Vec<_>>()
                })
                .collect()
        }),
    ];
    for (name, change) in changes {
        table.add(name, 1, move |given| given.result(&change(&given.text(0)?)));
    }
    table.add("toString", 1, |given| match given.item(0) {
        Item::Nil => given.result(""),
        other => given.result(&other.to_string()),
    });
    table.add("quote", 0, |given| {
        let quoted: Vec<String> = shown(given).map(|text| serde_json::Value::from(text).to_string()).collect();
        given.result(&quoted.join(" "))
    });
    table.add("squote", 0, |given| {
        let quoted: Vec<String> = shown(given).map(|text| format!("'{text}'")).collect();
        given.result(&quoted.join(" "))
    });
    table.add("cat", 0, |given| given.result(&shown(given).collect::<Vec<_>>().join(" ")));
}

fn add_trims(table: &mut Table) {
    table.add("trimSuffix", 2, |given| {
        let (suffix, text) = (given.text(0)?, given.text(1)?);
        given.result(text.strip_suffix(suffix.as_str()).unwrap_or(&text))
    });
    table.add("trimPrefix", 2, |given| {
        let (prefix, text) = (given.text(0)?, given.text(1)?);
        given.result(text.strip_prefix(prefix.as_str()).unwrap_or(&text))
    });
    for name in ["trimAll", "trimall"] {
        table.add(name, 2, |given| {
            let (letters, text) = (given.text(0)?, given.text(1)?);
            given.result(text.trim_matches(|letter| letters.contains(letter)))
        });
    }
    table.add("trunc", 2, |given| {
        let (count, text) = (given.number(0)?, given.text(1)?);
        let letters: Vec<char> = text.chars().collect();
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(letters.len());
        let kept = if count < 0 { &letters[letters.len() - wanted..] } else { &letters[..wanted] };
        given.result(&kept.iter().collect::<String>())
    });
    table.add("substr", 3, |given| {
        let (start, end, text) = (given.number(0)?, given.number(1)?, given.text(2)?);
        let letters: Vec<char> = text.chars().collect();
        let end = usize::try_from(end).unwrap_or(letters.len()).min(letters.len());
        let start = usize::try_from(start).unwrap_or(0).min(end);
        given.result(&letters[start..end].iter().collect::<String>())
    });
    table.add("repeat", 2, |given| {
        let (count, text) = (given.number(0)?, given.text(1)?);
        let count = usize::try_from(count).unwrap_or(0);
        if text.len().saturating_mul(count) > super::MAX_TEXT {
            return Err(given.wrong("the result is too long"));
        }
        given.result(&text.repeat(count))
    });
    for (name, start) in [("indent", ""), ("nindent", "\n")] {
        table.add(name, 2, move |given| {
            let pad = " ".repeat(usize::try_from(given.number(0)?).unwrap_or(0).min(1000));
            given.result(&format!("{start}{pad}{}", given.text(1)?.replace('\n', &format!("\n{pad}"))))
        });
    }
}

fn add_tests(table: &mut Table) {
    table.add("contains", 2, |given| Ok(Item::Bool(given.text(1)?.contains(&given.text(0)?))));
    table.add("hasPrefix", 2, |given| Ok(Item::Bool(given.text(1)?.starts_with(&given.text(0)?))));
    table.add("hasSuffix", 2, |given| Ok(Item::Bool(given.text(1)?.ends_with(&given.text(0)?))));
}

fn add_parts(table: &mut Table) {
    table.add("replace", 3, |given| {
        let (old, new, text) = (given.text(0)?, given.text(1)?, given.text(2)?);
        let growth = text.len().saturating_add(1).saturating_mul(new.len().saturating_add(1));
        if old.is_empty() && growth > super::MAX_TEXT {
            return Err(given.wrong("the result is too long"));
        }
        given.result(&text.replace(&old, &new))
    });
    table.add("split", 2, |given| Ok(numbered(given.text(1)?.split(&given.text(0)?))));
    table.add("splitn", 3, |given| {
        let count = usize::try_from(given.number(1)?).unwrap_or(usize::MAX);
        Ok(numbered(given.text(2)?.splitn(count, &given.text(0)?)))
    });
    table.add("splitList", 2, |given| {
        Ok(Item::List(given.text(1)?.split(&given.text(0)?).map(|part| Item::String(part.into())).collect()))
    });
    table.add("join", 2, |given| {
        let separator = given.text(0)?;
        let parts: Vec<String> = match given.item(1) {
            Item::List(items) => items.iter().filter(|item| !matches!(item, Item::Nil)).map(Item::to_string).collect(),
            Item::Nil => Vec::new(),
            one => vec![one.to_string()],
        };
        given.result(&parts.join(&separator))
    });
}

fn add_encodings(table: &mut Table) {
    table.add("b64enc", 1, |given| given.result(&Base64::encode_string(given.text(0)?.as_bytes())));
    table.add("b64dec", 1, |given| {
        let text = given.text(0)?;
        let decoded = Base64::decode_vec(&text).or_else(|_| Base64Url::decode_vec(&text)).ok();
        match decoded.and_then(|octets| String::from_utf8(octets).ok()) {
            Some(decoded) => given.result(&decoded),
            None => Err(given.wrong("the text is not the base64 of a text")),
        }
    });
    for (name, algorithm) in [
        ("sha1sum", &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY),
        ("sha256sum", &aws_lc_rs::digest::SHA256),
        ("sha512sum", &aws_lc_rs::digest::SHA512),
    ] {
        table.add(name, 1, move |given| digest(given, algorithm));
    }
}

fn digest(given: &Given<'_>, algorithm: &'static aws_lc_rs::digest::Algorithm) -> Outcome {
    let hash = aws_lc_rs::digest::digest(algorithm, given.text(0)?.as_bytes());
    let hex: Vec<String> = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    given.result(&hex.concat())
}

/// What sprig's `quote` takes: everything but nil, as text.
fn shown<'a>(given: &'a Given<'_>) -> impl Iterator<Item = String> + 'a {
    given.arguments.iter().filter(|item| !matches!(item, Item::Nil)).map(Item::to_string)
}

/// Sprig's `split` makes a dict with `_0`, `_1` and so on.
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Item {
    Item::Map(std::sync::Arc::new(
        parts.enumerate().map(|(index, part)| (format!("_{index}").into(), Item::String(part.into()))).collect(),
    ))
}

fn title(text: &str) -> String {
    each_word(text, |first| first.to_uppercase().to_string())
}

fn each_word(text: &str, change: impl Fn(char) -> String) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at_start = true;
    for letter in text.chars() {
        if at_start {
            result.push_str(&change(letter));
        } else {
            result.push(letter);
        }
        at_start = letter.is_whitespace();
    }
    result
}

/// The words of an identifier, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before_was_lower = false;
    let mut open = false;
    for letter in text.chars() {
        if !letter.is_alphanumeric() {
            open = false;
            before_was_lower = false;
            continue;
        }
        if !open || (letter.is_uppercase() && before_was_lower) {
            words.push(String::new());
            open = true;
        }
        before_was_lower = letter.is_lowercase() || letter.is_numeric();
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn identifiers_are_cut_into_words() {
        assert_eq!(words("FirstName"), ["first", "name"]);
        assert_eq!(words("a-b c_d"), ["a", "b", "c", "d"]);
    }
}
