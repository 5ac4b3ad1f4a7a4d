//! Functions on lists and dicts. Values do not change: `set` and `unset` give a new dict.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value as Item;

use super::{Given, Table, to_json};

pub(super) fn add(table: &mut Table) {
    add_lists(table);
    add_list_parts(table);
    add_dicts(table);
}

fn add_lists(table: &mut Table) {
    for name in ["list", "tuple"] {
        table.add(name, 0, |given| Ok(list(given.arguments.to_vec())));
    }
    for name in ["append", "push"] {
        table.add(name, 2, |given| {
            let mut items = given.list(0)?;
            items.push(given.item(1).clone());
            Ok(list(items))
        });
    }
    table.add("prepend", 2, |given| {
        let mut items = given.list(0)?;
        items.insert(0, given.item(1).clone());
        Ok(list(items))
    });
    table.add("concat", 0, |given| {
        let mut items = Vec::new();
        for index in 0..given.arguments.len() {
            items.extend(given.list(index)?);
        }
        // A loop that doubles a list would otherwise run out of memory and not of turns.
        if items.len() > super::MAX_TEXT {
            return Err(given.wrong("the list is too long"));
        }
        Ok(list(items))
    });
    table.add("reverse", 1, |given| Ok(list(given.list(0)?.into_iter().rev().collect())));
    table.add("compact", 1, |given| Ok(list(given.list(0)?.into_iter().filter(Item::is_truthy).collect())));
    table.add("uniq", 1, |given| {
        let mut kept: Vec<Item> = Vec::new();
        for item in bounded(given, given.list(0)?)? {
            if !kept.iter().any(|other| same(other, &item)) {
                kept.push(item);
            }
        }
        Ok(list(kept))
    });
    table.add("without", 1, |given| {
        let unwanted = given.arguments.get(1..).unwrap_or_default();
        let kept = given.list(0)?.into_iter().filter(|item| !unwanted.iter().any(|other| same(other, item)));
        Ok(list(kept.collect()))
    });
    table.add("has", 2, |given| {
        let wanted = given.item(0);
        Ok(Item::Bool(given.list(1)?.iter().any(|item| same(item, wanted))))
    });
    table.add("sortAlpha", 1, |given| {
        let mut texts: Vec<String> = given.list(0)?.iter().map(Item::to_string).collect();
        texts.sort();
        Ok(list(texts.into_iter().map(|text| Item::String(text.into())).collect()))
    });
    table.add("toStrings", 1, |given| {
        Ok(list(given.list(0)?.iter().map(|item| Item::String(item.to_string().into())).collect()))
    });
    table.add("until", 1, |given| {
        let count = given.number(0)?.clamp(0, 10_000);
        Ok(list((0..count).map(Item::Int).collect()))
    });
}

fn add_list_parts(table: &mut Table) {
    table.add("first", 1, |given| Ok(given.list(0)?.first().cloned().unwrap_or(Item::Nil)));
    table.add("last", 1, |given| Ok(given.list(0)?.last().cloned().unwrap_or(Item::Nil)));
    table.add("rest", 1, |given| Ok(list(given.list(0)?.into_iter().skip(1).collect())));
    table.add("initial", 1, |given| {
        let mut items = given.list(0)?;
        items.pop();
        Ok(list(items))
    });
}

fn add_dicts(table: &mut Table) {
    table.add("dict", 0, |given| {
        let mut entries = BTreeMap::new();
        for index in (0..given.arguments.len()).step_by(2) {
            let value = given.arguments.get(index + 1).cloned().unwrap_or_else(|| Item::String("".into()));
            entries.insert(Arc::from(given.text(index)?), value);
        }
        Ok(dict(entries))
    });
    table.add("get", 2, |given| {
        let key = given.text(1)?;
        Ok(given.map(0)?.get(key.as_str()).cloned().unwrap_or_else(|| Item::String("".into())))
    });
    table.add("hasKey", 2, |given| Ok(Item::Bool(given.map(0)?.contains_key(given.text(1)?.as_str()))));
    table.add("set", 3, |given| {
        let mut entries = given.map(0)?;
        entries.insert(given.text(1)?.into(), given.item(2).clone());
        Ok(dict(entries))
    });
    table.add("unset", 2, |given| {
        let mut entries = given.map(0)?;
        entries.remove(given.text(1)?.as_str());
        Ok(dict(entries))
    });
    table.add("keys", 1, |given| {
        let mut keys = Vec::new();
        for index in 0..given.arguments.len() {
            keys.extend(given.map(index)?.keys().filter(|key| !key.starts_with('\0')).cloned().map(Item::String));
        }
        Ok(list(keys))
    });
    table.add("values", 1, |given| {
        let entries = given.map(0)?.into_iter().filter(|(key, _)| !key.starts_with('\0'));
        Ok(list(entries.map(|(_, value)| value).collect()))
    });
    for (name, keep) in [("pick", true), ("omit", false)] {
        table.add(name, 1, move |given| {
            let mut wanted = Vec::new();
            for index in 1..given.arguments.len() {
                wanted.push(given.text(index)?);
            }
            let mut entries = given.map(0)?;
            entries.retain(|key, _| wanted.iter().any(|name| **name == **key) == keep);
            Ok(dict(entries))
        });
    }
    table.add("merge", 1, |given| {
        // The first dict wins, as in sprig.
        let mut merged = BTreeMap::new();
        for index in (0..given.arguments.len()).rev() {
            merged.extend(given.map(index)?);
        }
        Ok(dict(merged))
    });
    table.add("dig", 3, |given| {
        let last = given.arguments.len() - 1;
        let fallback = given.item(last - 1);
        let mut here = given.item(last).clone();
        for index in 0..last - 1 {
            let key = given.text(index)?;
            let next = match &here {
                Item::Map(entries) => entries.get(key.as_str()).cloned(),
                _ => None,
            };
            match next {
                Some(next) => here = next,
                None => return Ok(fallback.clone()),
            }
        }
        Ok(here)
    });
}

/// Comparisons of all with all are for short lists.
fn bounded(given: &Given<'_>, items: Vec<Item>) -> Result<Vec<Item>, gotmpl::TemplateError> {
    if items.len() > 1000 { Err(given.wrong("the list is too long")) } else { Ok(items) }
}

fn same(a: &Item, b: &Item) -> bool {
    to_json(a) == to_json(b)
}

fn list(items: Vec<Item>) -> Item {
    Item::List(items.into())
}

fn dict(entries: BTreeMap<Arc<str>, Item>) -> Item {
    Item::Map(Arc::new(entries))
}
