//! The functions that templates of the reference use beside Go's own: those of the sprig library in common use, and `asn1…`.

mod collections;
mod patterns;
mod text;

use std::sync::{Arc, PoisonError};

use gotmpl::{FuncMap, TemplateError, Value as Item, ValueFunc};
use serde_json::{Map, Value};

use super::asn1;
use super::engine::{GO_JSON, GO_TYPE, Refusal};

/// The longest text that one function may make.
const MAX_TEXT: usize = 64 * 1024;

/// What a function gives.
type Outcome = Result<Item, TemplateError>;

/// All functions; `fail` leaves its message in `refusal`.
pub(super) fn all(refusal: &Refusal) -> FuncMap {
    let mut table = Table { functions: FuncMap::new() };
    text::add(&mut table);
    collections::add(&mut table);
    patterns::add(&mut table);
    add_defaults(&mut table);
    add_numbers(&mut table);
    add_kinds(&mut table);
    add_asn1(&mut table);
    let refusal = Arc::clone(refusal);
    table.add("fail", 1, move |given| {
        let message = given.text(0)?;
        *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
        Err(TemplateError::Exec(message))
    });
    table.functions
}

/// The functions under their names.
struct Table {
    functions: FuncMap,
}

impl Table {
    /// Adds a function that wants at least so many arguments.
    fn add(
        &mut self,
        name: &'static str,
        least: usize,
        function: impl Fn(&Given<'_>) -> Outcome + Send + Sync + 'static,
    ) {
        let function: ValueFunc = Arc::new(move |arguments: &[Item]| {
            if arguments.len() < least {
                return Err(TemplateError::ArgCount { name: name.to_owned(), expected: least, got: arguments.len() });
            }
            function(&Given { name, arguments })
        });
        self.functions.insert(name.to_owned(), function);
    }
}

/// The arguments of a call.
struct Given<'a> {
    name: &'static str,
    arguments: &'a [Item],
}

impl Given<'_> {
    fn item(&self, index: usize) -> &Item {
        self.arguments.get(index).unwrap_or(&Item::Nil)
    }

    fn last(&self) -> &Item {
        self.arguments.last().unwrap_or(&Item::Nil)
    }

    /// A text; numbers and truth values are written out.
    fn text(&self, index: usize) -> Result<String, TemplateError> {
        match self.item(index) {
            Item::String(text) => Ok(text.to_string()),
            other @ (Item::Int(_) | Item::Uint(_) | Item::Float(_) | Item::Bool(_)) => Ok(other.to_string()),
            other => Err(self.wrong(&format!("argument {} is {}, not a text", index + 1, other.type_name()))),
        }
    }

    fn number(&self, index: usize) -> Result<i64, TemplateError> {
        whole(self.item(index)).ok_or_else(|| self.wrong(&format!("argument {} is not a whole number", index + 1)))
    }

    fn list(&self, index: usize) -> Result<Vec<Item>, TemplateError> {
        match self.item(index) {
            Item::List(items) => Ok(items.to_vec()),
            Item::Nil => Ok(Vec::new()),
            other => Err(self.wrong(&format!("argument {} is {}, not a list", index + 1, other.type_name()))),
        }
    }

    fn map(&self, index: usize) -> Result<std::collections::BTreeMap<Arc<str>, Item>, TemplateError> {
        match self.item(index) {
            Item::Map(entries) => Ok((**entries).clone()),
            Item::Nil => Ok(std::collections::BTreeMap::new()),
            other => Err(self.wrong(&format!("argument {} is {}, not a dict", index + 1, other.type_name()))),
        }
    }

    fn wrong(&self, why: &str) -> TemplateError {
        TemplateError::Exec(format!("{}: {why}", self.name))
    }

    /// A text as a result, if it is not too long.
    fn result(&self, text: &str) -> Outcome {
        if text.len() > MAX_TEXT {
            return Err(self.wrong(&format!("the result is longer than {MAX_TEXT} octets")));
        }
        Ok(Item::String(text.into()))
    }
}

fn add_defaults(table: &mut Table) {
    table.add("default", 1, |given| {
        let value = if given.arguments.len() > 1 { given.last() } else { &Item::Nil };
        Ok(if value.is_truthy() { value } else { given.item(0) }.clone())
    });
    table.add("empty", 1, |given| Ok(Item::Bool(!given.item(0).is_truthy())));
    table.add("coalesce", 1, |given| {
        Ok(given.arguments.iter().find(|item| item.is_truthy()).cloned().unwrap_or(Item::Nil))
    });
    table.add("ternary", 3, |given| Ok(given.item(if given.item(2).is_truthy() { 0 } else { 1 }).clone()));
    table.add("all", 0, |given| Ok(Item::Bool(given.arguments.iter().all(Item::is_truthy))));
    table.add("any", 0, |given| Ok(Item::Bool(given.arguments.iter().any(Item::is_truthy))));
    for name in ["toJson", "mustToJson", "toRawJson"] {
        table.add(name, 1, |given| given.result(&to_json(given.item(0)).to_string()));
    }
    for name in ["toPrettyJson", "mustToPrettyJson"] {
        table.add(name, 1, |given| given.result(&format!("{:#}", to_json(given.item(0)))));
    }
    for name in ["fromJson", "mustFromJson"] {
        table.add(name, 1, |given| {
            let value: Value = serde_json::from_str(&given.text(0)?)
                .map_err(|error| given.wrong(&format!("the text is not JSON: {error}")))?;
            gotmpl::to_value(&value)
        });
    }
}

/// What makes one number of two, if there is one.
type Operation = fn(i64, i64) -> Option<i64>;

fn add_numbers(table: &mut Table) {
    let folded: [(&'static str, Operation); 7] = [
        ("add", i64::checked_add),
        ("sub", i64::checked_sub),
        ("mul", i64::checked_mul),
        ("div", i64::checked_div),
        ("mod", i64::checked_rem),
        ("max", |a, b| Some(a.max(b))),
        ("min", |a, b| Some(a.min(b))),
    ];
    for (name, operation) in folded {
        table.add(name, 1, move |given| {
            let mut result = given.number(0)?;
            for index in 1..given.arguments.len() {
                result = operation(result, given.number(index)?)
                    .ok_or_else(|| given.wrong("the result is out of range, or a division by zero"))?;
            }
            Ok(Item::Int(result))
        });
    }
    table.add("add1", 1, |given| {
        given.number(0)?.checked_add(1).map(Item::Int).ok_or_else(|| given.wrong("the result is out of range"))
    });
    for name in ["int", "int64", "atoi"] {
        // As in sprig: what is no number becomes 0.
        table.add(name, 1, |given| Ok(Item::Int(whole(given.item(0)).unwrap_or(0))));
    }
    table.add("float64", 1, |given| {
        let number = match given.item(0) {
            Item::String(text) => text.parse().unwrap_or(0.0),
            other => other.as_float().unwrap_or(0.0),
        };
        Ok(Item::Float(number))
    });
}

fn add_kinds(table: &mut Table) {
    table.add("typeOf", 1, |given| given.result(&type_of(given.item(0))));
    table.add("kindOf", 1, |given| given.result(kind_of(given.item(0))));
    table.add("typeIs", 2, |given| Ok(Item::Bool(given.text(0)? == type_of(given.item(1)))));
    table.add("typeIsLike", 2, |given| {
        let (wanted, found) = (given.text(0)?, type_of(given.item(1)));
        Ok(Item::Bool(wanted == found || found.strip_prefix('*') == Some(wanted.as_str())))
    });
    table.add("kindIs", 2, |given| Ok(Item::Bool(given.text(0)? == kind_of(given.item(1)))));
    table.add("deepEqual", 2, |given| Ok(Item::Bool(to_json(given.item(0)) == to_json(given.item(1)))));
}

fn add_asn1(table: &mut Table) {
    table.add("asn1Enc", 1, |given| {
        let encoded = asn1::encode(&given.text(0)?).map_err(TemplateError::Exec)?;
        given.result(&encoded)
    });
    table.add("asn1Marshal", 1, |given| {
        use base64ct::{Base64, Encoding};
        if given.arguments.len() > 1 {
            let kind = given.text(1)?;
            let encoded = asn1::encode(&format!("{kind}:{}", given.text(0)?)).map_err(TemplateError::Exec)?;
            return given.result(&encoded);
        }
        let der = match given.item(0) {
            Item::Bool(truth) => asn1::boolean(*truth),
            Item::Int(number) => asn1::integer(*number),
            Item::String(text) => asn1::string(text),
            other => match whole(other) {
                Some(number) => asn1::integer(number),
                None => return Err(given.wrong(&format!("{} cannot be encoded", other.type_name()))),
            },
        };
        given.result(&Base64::encode_string(&der))
    });
    for (name, tag) in [("asn1Seq", 0x30), ("asn1Set", 0x31)] {
        table.add(name, 0, move |given| {
            let parts = (0..given.arguments.len()).map(|index| given.text(index)).collect::<Result<Vec<_>, _>>()?;
            let encoded = asn1::constructed(tag, &parts).map_err(|why| given.wrong(&why))?;
            given.result(&encoded)
        });
    }
}

/// A value as JSON; what stands for a Go structure has brought its own.
fn to_json(item: &Item) -> Value {
    match item {
        Item::Bool(truth) => Value::from(*truth),
        Item::Int(number) => Value::from(*number),
        Item::Uint(number) => Value::from(*number),
        Item::Float(number) => {
            // Go writes a whole float without a fraction, and so does a template that reads a JSON number.
            match whole(item) {
                Some(whole) => Value::from(whole),
                None => Value::from(*number),
            }
        }
        Item::String(text) => Value::from(&**text),
        Item::List(items) => items.iter().map(to_json).collect(),
        Item::Map(entries) => match entries.get(GO_JSON) {
            Some(Item::String(own)) => serde_json::from_str(own).unwrap_or(Value::Null),
            _ => Value::Object(
                entries.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect::<Map<_, _>>(),
            ),
        },
        _ => Value::Null,
    }
}

fn whole(item: &Item) -> Option<i64> {
    match item {
        Item::Int(number) => Some(*number),
        Item::Uint(number) => i64::try_from(*number).ok(),
        Item::Bool(truth) => Some(i64::from(*truth)),
        Item::String(text) => text.trim().parse().ok(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range and the absence of a fraction are checked first"
        )]
        Item::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
        _ => None,
    }
}

/// The name of a value's type in Go.
fn type_of(item: &Item) -> String {
    match item {
        Item::Nil => "<nil>",
        Item::Bool(_) => "bool",
        Item::Int(_) | Item::Uint(_) => "int",
        Item::Float(_) => "float64",
        Item::String(_) => "string",
        Item::List(_) => "[]interface {}",
        Item::Map(entries) => match entries.get(GO_TYPE) {
            Some(Item::String(name)) => return name.to_string(),
            _ => "map[string]interface {}",
        },
        _ => "func",
    }
    .to_owned()
}

/// The name of a value's kind in Go.
fn kind_of(item: &Item) -> &'static str {
    match item {
        Item::Nil => "invalid",
        Item::Bool(_) => "bool",
        Item::Int(_) | Item::Uint(_) => "int",
        Item::Float(_) => "float64",
        Item::String(_) => "string",
        Item::List(_) => "slice",
        Item::Map(entries) => match entries.get(GO_TYPE) {
            Some(Item::String(name)) if name.starts_with('*') => "ptr",
            Some(Item::String(name)) if &**name == "ed25519.PublicKey" => "slice",
            Some(_) => "struct",
            None => "map",
        },
        _ => "func",
    }
}

#[cfg(test)]
mod tests;
