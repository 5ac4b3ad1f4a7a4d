//! Pages that are tests: every `console` block of a Markdown page is typed, and what it prints is compared.
//!
//! A line after `$ ` is a command for bash; lines after `> ` continue it. The lines below are what it prints: `[..]` stands for
//! anything in a line, a line `...` for any lines, and a last line `[exit N]` for another exit code than 0. A command without
//! lines below it may print what it likes. One that ends in `&` goes on in the background; the lines below it are awaited.
//! The ports 9000 and 9443 of a page become free ones. A page whose head holds `<!-- needs: NAME -->` needs that peer; with
//! `postgres`, the address `postgres://keywheel@db.example.com/ca` of the page becomes that of an empty database.
//! README.md shows a run of its own: what is different here stands in `ELSEWHERE`, and digests count for any digest.

use std::fmt::Write as _;
use std::path::Path;

use crate::ca::{Background, free_port};
use crate::peer;
use crate::place::Place;
use crate::postgres::Postgres;

/// The database that a page speaks of where it needs one.
const DATABASE: &str = "postgres://keywheel@db.example.com/ca";

/// What a page says of the reader's machine, and what that is here. `up` stays in the foreground for the reader alone.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo run -- up", "keywheel up &"),
    ("cargo run -- ", "keywheel "),
    ("cargo xtask test", "true # which is what runs this"),
    ("/home/you/keywheel/target/debug/keywheel", "keywheel"),
    ("/home/you/.step", "[..]"),
    ("localhost:8443", "localhost:[..]"),
];

/// One command of a page, and what it should do.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    exit: i32,
}

/// Types a page into a fresh place; the error shows the first line that went otherwise.
pub fn run(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let steps = parse(&text)?;
    let mut postgres = None;
    for name in text.lines().filter_map(|line| line.strip_prefix("<!-- needs: ")?.strip_suffix(" -->")) {
        let found = match name {
            "step" => peer::step(),
            "step-ca" => peer::step_ca(),
            "softhsm" => peer::softhsm(),
            "postgres" => {
                postgres = Some(Postgres::start());
                continue;
            }
            other => return Err(format!("the page needs {other}, which no installer here knows")),
        };
        if found.is_none() {
            return Ok(());
        }
    }
    let place = Place::new();
    let state = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut here: Vec<(&str, String)> = ELSEWHERE.iter().map(|(there, here)| (*there, (*here).to_owned())).collect();
    here.extend(["9000", "9443"].map(|port| (port, free_port().to_string())));
    if let Some(postgres) = &postgres {
        here.push((DATABASE, format!("'{}'", postgres.database("ca"))));
    }
    let as_here = |text: &str| here.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let mut background = Vec::new();
    for step in steps {
        let command = as_here(&step.command);
        let expected: Vec<String> = step.expected.iter().map(|line| without_digests(&as_here(line))).collect();
        let at = format!("{}:{}: $ {}", path.display(), step.line, command);
        if let Some(server) = command.strip_suffix('&') {
            background.push(start(&place, state.path(), server, &expected));
            continue;
        }
        // What a line exports, or the folder that it goes to, holds for the next one, as in a terminal.
        let script = format!(
            "source {state}; {command}\ncode=$?; {{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {state}; exit $code",
            state = state.path().display()
        );
        let script = format!("exec 2>&1\n{script}");
        let done = place.run("bash", &["-c", &script]);
        if done.code != step.exit {
            return Err(format!("{at}\nexit code {}, expected {}; it said:\n{}", done.code, step.exit, done.stdout));
        }
        let printed: Vec<&str> = done.stdout.lines().map(str::trim_end).collect();
        let wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
        if !wanted.is_empty() && !matches(&wanted, &printed) {
            return Err(format!("{at}\nexpected:\n{}\nprinted:\n{}", wanted.join("\n"), printed.join("\n")));
        }
    }
    Ok(())
}

fn start(place: &Place, state: &Path, command: &str, expected: &[String]) -> Background {
    let mut bash = place.command("bash");
    bash.args(["-c", &format!("source {}; exec {command}", state.display())]);
    let mut server = Background::start(bash);
    for line in expected.iter().filter(|line| *line != "...") {
        let longest = line.split("[..]").max_by_key(|part| part.len()).unwrap_or_default();
        server.wait_for(longest);
    }
    server
}

/// A line with `[..]` for every SHA-256 digest: a picture may show those of its own run.
fn without_digests(line: &str) -> String {
    let digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    line.split(' ').map(|word| if digest(word) { "[..]" } else { word }).collect::<Vec<_>>().join(" ")
}

fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<&str> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(kind) = trimmed.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind) };
            continue;
        }
        match block {
            Some("console") => {}
            // Pictures and excerpts of files; everything else in a page must be something that is typed.
            None | Some("text" | "json" | "toml" | "ini") => continue,
            Some(other) => return Err(format!("line {}: a block of kind {other:?} is run by no test", number + 1)),
        }
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: number + 1, command: command.into(), expected: Vec::new(), exit: 0 });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            return Err(format!("line {}: a console block begins with a command", number + 1));
        };
        if let Some(more) = line.strip_prefix("> ").or_else(|| line.strip_prefix('>')) {
            let _ = write!(step.command, "\n{more}");
        } else if let Some(code) = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']')) {
            step.exit = code.parse().map_err(|_| format!("line {}: [exit N] wants a number", number + 1))?;
        } else {
            step.expected.push(line.trim_end().into());
        }
    }
    Ok(steps)
}

/// Whether the printed lines are what the expected ones describe.
fn matches(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others))
        }
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_line_does_not_match() {
        assert!(matches(&["a [..] c", "...", "z"], &["a b c", "x", "y", "z"]));
        assert!(!matches(&["a [..] c"], &["a b d"]));
        assert!(!matches(&["a"], &["a", "b"]));
        assert!(!matches(&["a", "b"], &["a"]));
    }

    #[test]
    fn the_digest_of_another_run_is_as_good() {
        assert_eq!(without_digests(&format!("  key  {} x", "0a".repeat(32))), "  key  [..] x");
        assert_eq!(without_digests("  key  0a0a x"), "  key  0a0a x");
    }

    #[test]
    fn a_block_that_nobody_runs_is_refused() {
        assert!(parse("```sh\nls\n```\n").is_err());
    }

    #[test]
    fn a_command_may_go_over_several_lines_and_fail_on_purpose() {
        let steps = parse("```console\n$ cat <<E\n> hello\n> E\nhello\n[exit 3]\n```\n").expect("it parses");
        assert_eq!(steps[0].command, "cat <<E\nhello\nE");
        assert_eq!((steps[0].expected.as_slice(), steps[0].exit), (&["hello".to_owned()][..], 3));
    }

    #[test]
    fn a_page_that_prints_something_else_fails() {
        let page = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(page.path(), "```console\n$ echo one\ntwo\n```\n").expect("it can be written");
        assert!(run(page.path()).is_err());
        std::fs::write(page.path(), "```console\n$ export A=1\n$ echo $A\n1\n```\n").expect("it can be written");
        assert_eq!(run(page.path()), Ok(()));
    }
}
