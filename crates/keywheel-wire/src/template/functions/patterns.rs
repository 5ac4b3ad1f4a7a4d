//! Functions on regular expressions. Go's and Rust's have the same syntax, and neither runs away on any text.

use gotmpl::{TemplateError, Value as Item};
use regex::{NoExpand, Regex, RegexBuilder};

use super::{Given, MAX_TEXT, Table};

/// The most memory that one expression may take.
const MAX_EXPRESSION: usize = 1 << 20;

pub(super) fn add(table: &mut Table) {
    for name in ["regexMatch", "mustRegexMatch"] {
        table.add(name, 2, |given| Ok(Item::Bool(expression(given)?.is_match(&given.text(1)?))));
    }
    for name in ["regexFind", "mustRegexFind"] {
        table.add(name, 2, |given| {
            let text = given.text(1)?;
            given.result(expression(given)?.find(&text).map_or("", |found| found.as_str()))
        });
    }
    for name in ["regexFindAll", "mustRegexFindAll"] {
        table.add(name, 3, |given| {
            let (text, count) = (given.text(1)?, count(given)?);
            let found = expression(given)?;
            Ok(Item::List(
                found.find_iter(&text).take(count).map(|found| Item::String(found.as_str().into())).collect(),
            ))
        });
    }
    for name in ["regexReplaceAll", "mustRegexReplaceAll"] {
        table.add(name, 3, |given| {
            let (text, with) = (given.text(1)?, given.text(2)?);
            bounded(given, &text, &with)?;
            given.result(&expression(given)?.replace_all(&text, with.as_str()))
        });
    }
    for name in ["regexReplaceAllLiteral", "mustRegexReplaceAllLiteral"] {
        table.add(name, 3, |given| {
            let (text, with) = (given.text(1)?, given.text(2)?);
            bounded(given, &text, &with)?;
            given.result(&expression(given)?.replace_all(&text, NoExpand(&with)))
        });
    }
    for name in ["regexSplit", "mustRegexSplit"] {
        table.add(name, 3, |given| {
            let (text, count) = (given.text(1)?, count(given)?);
            Ok(Item::List(expression(given)?.splitn(&text, count).map(|part| Item::String(part.into())).collect()))
        });
    }
    table.add("regexQuoteMeta", 1, |given| given.result(&regex::escape(&given.text(0)?)));
}

fn expression(given: &Given<'_>) -> Result<Regex, TemplateError> {
    RegexBuilder::new(&given.text(0)?)
        .size_limit(MAX_EXPRESSION)
        .dfa_size_limit(MAX_EXPRESSION)
        .build()
        .map_err(|error| given.wrong(&format!("the regular expression is not accepted: {error}")))
}

/// How many are wanted; a negative number means all.
fn count(given: &Given<'_>) -> Result<usize, TemplateError> {
    Ok(usize::try_from(given.number(2)?).unwrap_or(usize::MAX))
}

/// A replacement at every place of a long text could otherwise fill the memory before its length is looked at.
fn bounded(given: &Given<'_>, text: &str, with: &str) -> Result<(), TemplateError> {
    let groups = with.matches('$').count().saturating_mul(text.len());
    let most = (text.len() + 1).saturating_mul(with.len().saturating_add(groups).max(1));
    if most > MAX_TEXT * 64 { Err(given.wrong("the texts are too long")) } else { Ok(()) }
}
