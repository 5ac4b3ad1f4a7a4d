//! The generated reference pages, and the check that they are fresh.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{root, run};

const COMMANDS: &str = "docs/reference/commands.md";

/// What every help ends with; the page says it once.
const EVERYWHERE: &str = "Everywhere:";

/// Writes the generated pages.
pub fn write() -> Result<()> {
    let path = root().join(COMMANDS);
    std::fs::write(&path, commands_page()?).with_context(|| format!("{COMMANDS} could not be written"))?;
    println!("wrote {COMMANDS}");
    Ok(())
}

/// Pages that differ from what would be generated now.
pub fn stale() -> Result<Vec<String>> {
    let there = std::fs::read_to_string(root().join(COMMANDS)).unwrap_or_default();
    if there == commands_page()? {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{COMMANDS} is not what the program's help says; type: cargo xtask generate")])
}

/// One command, as its own help shows it.
struct Shown {
    name: String,
    help: String,
}

/// The page of all commands, from the help of the program itself.
fn commands_page() -> Result<String> {
    let program = build()?;
    let mut all = Vec::new();
    collect(&program, &mut Vec::new(), &mut all)?;
    Ok(page(&all))
}

/// Builds the program as the tests will use it, and says where it is.
fn build() -> Result<PathBuf> {
    run("cargo", &["build", "--quiet", "--workspace", "--locked"])?;
    // This program was built into the same folder.
    let own = std::env::current_exe().context("this program does not know where it is")?;
    Ok(own.with_file_name("keywheel"))
}

fn collect(program: &Path, words: &mut Vec<String>, all: &mut Vec<Shown>) -> Result<()> {
    let help = help(program, words)?;
    let below = subcommands(&help);
    let name = std::iter::once("keywheel").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    all.push(Shown { name, help });
    for word in below {
        words.push(word);
        collect(program, words, all)?;
        words.pop();
    }
    Ok(())
}

fn help(program: &Path, words: &[String]) -> Result<String> {
    // No terminal and no COLUMNS: the same width on every machine.
    let done = Command::new(program)
        .args(words)
        .arg("--help")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    if !done.status.success() {
        bail!("keywheel {} --help failed: {}", words.join(" "), String::from_utf8_lossy(&done.stderr));
    }
    String::from_utf8(done.stdout).context("the help is not UTF-8")
}

/// The names that a help lists under `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn page(all: &[Shown]) -> String {
    let mut page = String::from(
        "# Commands\n\n\
         <!-- Written by `cargo xtask generate` from the program's own help. Change the help, not this page. -->\n\n\
         What `--help` says, for every command. The exit codes are explained in [exit-codes.md](exit-codes.md), the variables in\n\
         [environment.md](environment.md).\n\n",
    );
    if let Some(everywhere) = all.first().and_then(|first| section(&first.help, EVERYWHERE)) {
        let _ = write!(page, "Every command also takes:\n\n```text\n{everywhere}\n```\n\n");
    }
    for command in all {
        let about: Vec<&str> = command.help.lines().take_while(|line| !line.is_empty()).collect();
        let depth = command.name.split(' ').count().saturating_sub(1);
        let anchor = command.name.replace(' ', "-");
        let indent = "  ".repeat(depth);
        let _ = writeln!(page, "{indent}- [`{}`](#{anchor}): {}", command.name, about.join(" "));
    }
    for command in all {
        let _ = write!(page, "\n## {}\n\n```text\n{}\n```\n", command.name, without(&command.help, EVERYWHERE));
    }
    page
}

/// The lines under a title, up to the next line without indentation.
fn section(help: &str, title: &str) -> Option<String> {
    let lines: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != title)
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .collect();
    let text = lines.join("\n").trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The help without the section of that title.
fn without(help: &str, title: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        if inside && !line.is_empty() && !line.starts_with(' ') {
            inside = false;
        }
        inside |= line == title;
        if !inside {
            kept.push(line);
        }
    }
    kept.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Does things\n\nUsage: keywheel <COMMAND>\n\nCommands:\n  up       Makes a CA that is explained\n           \
                        in two lines\n  version  Says which\n\nOptions:\n  -h\n\nEverywhere:\n      --json  As JSON\n\n\
                        Examples:\n  keywheel up\n";

    #[test]
    fn the_names_of_commands_are_read_from_the_help() {
        assert_eq!(subcommands(HELP), ["up", "version"]);
        assert!(subcommands("Usage: keywheel up\n").is_empty());
    }

    #[test]
    fn what_holds_everywhere_is_said_once() {
        assert_eq!(section(HELP, EVERYWHERE).as_deref(), Some("      --json  As JSON"));
        let rest = without(HELP, EVERYWHERE);
        assert!(!rest.contains("--json") && rest.ends_with("Examples:\n  keywheel up"), "{rest}");
    }

    #[test]
    fn the_page_has_a_heading_for_every_command() {
        let all = [
            Shown { name: "keywheel".into(), help: HELP.into() },
            Shown { name: "keywheel up".into(), help: HELP.into() },
        ];
        let page = page(&all);
        assert!(
            page.contains("\n## keywheel up\n") && page.contains("  - [`keywheel up`](#keywheel-up): Does things\n")
        );
    }
}
