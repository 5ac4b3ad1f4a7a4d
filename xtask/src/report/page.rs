//! The page of the crash report: its parts, and their tables made of JSON.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// A part of the page, renewed as one.
pub struct Part {
    /// How it is asked for.
    pub name: &'static str,
    /// The suites to run, each with what to run of it.
    pub suites: &'static [(&'static str, &'static [&'static str])],
    /// What they record, in the order of the page.
    pub tables: &'static [Table],
}

/// One record of a suite.
pub struct Table {
    /// The name that the suite gave it.
    pub name: &'static str,
    title: &'static str,
    /// What was done, and what the columns mean where that is not plain.
    says: &'static str,
}

/// All parts.
pub const PARTS: &[Part] = &[
    Part {
        name: "client",
        suites: &[("crash", &["random"]), ("crash", &["every"])],
        tables: &[
            Table {
                name: "crash-kills",
                title: "Killed at every system call",
                says: "SIGKILL at every system call that changes a file, speaks to the CA or writes to the terminal, one run \
                       for each: of `ca rekey`, of one that is rolled back since its hook fails, of `ca renew` and of \
                       `certificate layout`. \"Unusable at once\": right after the death, before anything else ran, \
                       certificate and key did not match. Two flat files cannot be replaced at one instant.",
            },
            Table {
                name: "crash-errors",
                title: "Refused at every system call",
                says: "Each of the same calls failed with ENOSPC, EIO, EDQUOT, EACCES and EROFS, one run for each error. \
                       \"It succeeded all the same\": the refused call was one that can be done without. Every exit code \
                       and message was held against what was on disk.",
            },
            Table {
                name: "crash-random",
                title: "Killed at random moments",
                says: "SIGKILL without a tracer, at a random moment within the length of a run, over and over on the same \
                       pair; only runs that it ended are counted.",
            },
            Table {
                name: "crash-peers",
                title: "The reference in the same run",
                says: "The real `step ca rekey --force` against the same CA, judged by the same code: SIGKILL and the five \
                       errors at every call that changes one of its two files, then kills at random moments within 80 ms of \
                       its start. It has no next start that would repair.",
            },
        ],
    },
    Part {
        name: "ca",
        suites: &[("disasters", &[])],
        tables: &[
            Table {
                name: "ca-kills-sqlite",
                title: "The CA killed under load, SQLite",
                says: "SIGKILL while clients ask for certificates; after each, the CA is started again, and everything that \
                       was acknowledged must be there, once.",
            },
            Table {
                name: "ca-kills-postgres",
                title: "One of two nodes killed under load, PostgreSQL",
                says: "The same with two nodes on one database; the other node goes on meanwhile.",
            },
            Table {
                name: "ca-postgres-crashes",
                title: "PostgreSQL crashes under load",
                says: "The database's server is ended at once, as by a failure of its machine, and started again; the CA goes on \
                       by itself.",
            },
            Table {
                name: "ca-disk-full",
                title: "The CA on a full disk",
                says: "The disk fills under load, is freed, and the CA is killed and started again.",
            },
            Table {
                name: "lost-replies",
                title: "Lost replies",
                says: "The connection is cut after the CA has issued, before its answer arrives; the client asks again.",
            },
        ],
    },
    Part {
        name: "services",
        suites: &[("services", &[]), ("client", &["clock"])],
        tables: &[
            Table {
                name: "nginx",
                title: "nginx under load",
                says: "Rekeys with a reload after each, while clients shake hands without a pause.",
            },
            Table { name: "haproxy", title: "HAProxy under load", says: "The same with HAProxy." },
            Table {
                name: "clock",
                title: "A clock that is turned",
                says: "The daemon's clock is turned by hours and years, forwards and backwards.",
            },
        ],
    },
];

impl Part {
    /// Its text for the page.
    pub fn rendered(&self, records: &[Value], machine: &str) -> String {
        let mut text = format!("{machine}\nAgain: `cargo xtask report crash --only {}`.\n", self.name);
        for (table, record) in self.tables.iter().zip(records) {
            let _ = write!(text, "\n### {}\n\n{}\n\n{}", table.title, table.says, rows(record));
        }
        text
    }
}

/// The page with this text in the place of what the part said before.
pub fn with_part(page: &str, part: &Part, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- made by report: {} -->\n", part.name), format!("<!-- end of {} -->", part.name));
    let (head, rest) = page.split_once(&begin).with_context(|| format!("the page has no line {}", begin.trim()))?;
    let (_, tail) = rest.split_once(&end).with_context(|| format!("the page has no line {end}"))?;
    Ok(format!("{head}{begin}{text}{end}{tail}"))
}

/// One object, or a list of them, as a table: the members of the first are the columns.
fn rows(record: &Value) -> String {
    let rows: Vec<&Map<String, Value>> = match record {
        Value::Array(rows) => rows.iter().filter_map(Value::as_object).collect(),
        other => other.as_object().into_iter().collect(),
    };
    let Some(first) = rows.first() else { return "Not measured in this run.\n".into() };
    let names: Vec<&String> = first.keys().collect();
    let mut text = format!("| {} |\n|{}\n", join(names.iter().map(|name| (*name).clone())), "---|".repeat(names.len()));
    for row in rows {
        let cells = names.iter().map(|name| row.get(*name).map_or_else(String::new, shown));
        let _ = writeln!(text, "| {} |", join(cells));
    }
    text
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" | ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('|', "\\|"),
        Value::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| number.to_string(), |float| format!("{float:.2}")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_members_of_a_record_are_the_columns_of_its_table() {
        let table = rows(&json!([{"what": "a|b", "kills": 3}, {"what": "c", "kills": 4.5}]));
        assert_eq!(table, "| what | kills |\n|---|---|\n| a\\|b | 3 |\n| c | 4.50 |\n");
        assert_eq!(rows(&json!({"kills": 3})), "| kills |\n|---|\n| 3 |\n");
    }

    #[test]
    fn a_part_is_renewed_and_nothing_else() {
        let page = "head\n<!-- made by report: client -->\nold\n<!-- end of client -->\ntail\n";
        let renewed = with_part(page, &PARTS[0], "new\n").expect("the page has the part");
        assert_eq!(renewed, "head\n<!-- made by report: client -->\nnew\n<!-- end of client -->\ntail\n");
        assert!(with_part("no part", &PARTS[0], "new\n").is_err());
    }
}
