//! The layers of a flag's value: command line, then `STEP_<FLAG>`, then `defaults.json`.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};

/// The path of commands in `words`, and the index of the word after it.
pub(super) fn path<'a>(words: &[OsString], root: &'a Command) -> (Vec<&'a Command>, usize) {
    let (mut path, mut after) = (vec![root], 1.min(words.len()));
    let mut index = 1;
    while let Some(word) = words.get(index).map(|word| word.to_string_lossy()) {
        let current = path[path.len() - 1];
        if word == "--" {
            break;
        }
        if let Some(flag) = word.strip_prefix('-') {
            // The value of a flag is not the name of a command.
            let takes_value = !flag.contains('=') && find(&path, word.trim_start_matches('-')).is_some_and(takes_value);
            index += if takes_value { 2 } else { 1 };
            continue;
        }
        match current.find_subcommand(word.as_ref()) {
            Some(sub) => path.push(sub),
            None => break,
        }
        index += 1;
        after = index;
    }
    (path, after)
}

/// Rewrites what Go programs accept and clap does not: `-flag` for `--flag`, and `--flag=true|false` for switches.
///
/// Gives back the switches that were turned off, so that no lower layer turns them on.
pub(super) fn normalise(words: &mut Vec<OsString>, root: &Command) -> Outcome<Vec<String>> {
    let (path, _after) = path(words, root);
    let mut denied = Vec::new();
    let mut kept = Vec::with_capacity(words.len());
    let mut value_follows = false;
    let mut only_positionals = false;
    for (index, word) in words.drain(..).enumerate() {
        let text = word.to_string_lossy().into_owned();
        only_positionals |= text == "--" && !value_follows;
        if index == 0 || only_positionals || value_follows || !text.starts_with('-') {
            value_follows = false;
            kept.push(word);
            continue;
        }
        let bare = text.trim_start_matches('-');
        let (name, value) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
        let Some(arg) = find(&path, name).filter(|_| name.len() > 1 || text.starts_with("--")) else {
            value_follows = bare.len() == 1 && find_short(&path, bare).is_some_and(takes_value);
            kept.push(word);
            continue;
        };
        match (value, is_switch(arg)) {
            (Some(value), true) => match truth(value) {
                Some(true) => kept.push(format!("--{name}").into()),
                Some(false) => denied.push(arg.get_id().to_string()),
                None => return Err(Failure::usage(format!("invalid value '{value}' for flag '--{name}'"))),
            },
            (Some(_), false) => kept.push(if text.starts_with("--") { word } else { format!("-{text}").into() }),
            (None, _) => {
                value_follows = takes_value(arg);
                kept.push(format!("--{name}").into());
            }
        }
    }
    *words = kept;
    Ok(denied)
}

/// The words that environment and `defaults.json` add for flags that the command line does not give.
pub(super) fn missing(
    matches: &ArgMatches,
    root: &Command,
    denied: &[String],
    environment: &dyn Fn(&str) -> Option<String>,
    defaults: impl FnOnce() -> Outcome<Map<String, Value>>,
) -> Outcome<Vec<OsString>> {
    let (command, matches, names) = leaf(root, matches);
    // The root of a new CA is not the root of the CA that the defaults speak of.
    let ignores_defaults =
        matches!(names.as_slice(), ["ca", "init" | "serve"] | ["up" | "path" | "version" | "completion" | "man"]);
    let defaults = if ignores_defaults { Map::new() } else { defaults()? };

    let mut added = Vec::new();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|_| !arg.is_global_set()) else { continue };
        let id = arg.get_id().as_str();
        let given = matches.value_source(id) == Some(ValueSource::CommandLine);
        if given || denied.iter().any(|name| name == id) || matches!(long, "help" | "version") {
            continue;
        }
        let mut found = None;
        for name in spellings(arg) {
            let variable = format!("STEP_{}", name.to_ascii_uppercase().replace('-', "_"));
            if let Some(value) = environment(&variable).filter(|value| !value.is_empty()) {
                found = Some((variable, text_values(arg, value)));
                break;
            }
        }
        // That list is asked of the CA; only a configuration that is named by hand takes its place.
        let by_hand_only = names.as_slice() == ["ca", "provisioner", "list"] && long == "ca-config";
        if found.is_none() && !by_hand_only {
            found = spellings(arg)
                .into_iter()
                .find_map(|name| Some(("defaults.json".to_owned(), json_values(defaults.get(&name)?)?)));
        }
        let Some((origin, values)) = found else { continue };
        for value in values {
            if is_switch(arg) {
                match truth(&value) {
                    Some(true) => added.push(format!("--{long}").into()),
                    Some(false) => {}
                    None => {
                        let message = format!("invalid value '{value}' for flag '--{long}' (from {origin})");
                        return Err(Failure::usage(message));
                    }
                }
            } else {
                added.push(format!("--{long}={value}").into());
            }
        }
    }
    Ok(added)
}

/// Whether the command makes a CA environment, so that its context may be new.
pub(super) fn makes_environment(matches: &ArgMatches) -> bool {
    let names = matches.subcommand().and_then(|(name, inner)| Some((name, inner.subcommand()?.0)));
    matches!(names, Some(("ca", "init" | "bootstrap")))
}

fn leaf<'a>(root: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches, Vec<&'a str>) {
    let (mut command, mut matches, mut names) = (root, matches, Vec::new());
    while let Some((name, inner)) = matches.subcommand() {
        let Some(sub) = command.find_subcommand(name) else { break };
        command = sub;
        matches = inner;
        names.push(name);
    }
    (command, matches, names)
}

/// Every name of a flag: its long ones, and `f` for the switch that is `-f`, as the reference has it.
fn spellings(arg: &clap::Arg) -> Vec<String> {
    let mut names: Vec<String> = arg.get_long().into_iter().map(str::to_owned).collect();
    names.extend(arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned));
    if names.iter().any(|name| name == "force") {
        names.push("f".to_owned());
    }
    names
}

fn text_values(arg: &clap::Arg, value: String) -> Vec<String> {
    if matches!(arg.get_action(), ArgAction::Append) {
        value.split(',').map(|part| part.trim().to_owned()).collect()
    } else {
        vec![value]
    }
}

fn json_values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        Value::Array(items) => Some(items.iter().filter_map(json_values).flatten().collect()),
        Value::Null | Value::Object(_) => None,
    }
}

fn find<'a>(path: &[&'a Command], name: &str) -> Option<&'a clap::Arg> {
    path.iter().rev().flat_map(|command| command.get_arguments()).find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

fn find_short<'a>(path: &[&'a Command], name: &str) -> Option<&'a clap::Arg> {
    let letter = name.chars().next();
    path.iter().rev().flat_map(|command| command.get_arguments()).find(|arg| arg.get_short() == letter)
}

fn is_switch(arg: &clap::Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn takes_value(arg: &clap::Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// Go's spelling of truth.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{Invocation, Refusal, read};
    use super::*;

    /// Reads `words` with an environment and the text of `defaults.json`.
    fn read_with(words: &str, environment: &[(&str, &str)], defaults: &str) -> Result<Invocation, Box<Refusal>> {
        let home = fresh_home(defaults);
        let mut pairs: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        pairs.push(("STEPPATH".to_owned(), home.display().to_string()));
        let lookup = move |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.clone());
        let outcome = read(words.split_whitespace().map(OsString::from), &lookup);
        std::fs::remove_dir_all(home).unwrap();
        outcome
    }

    fn fresh_home(defaults: &str) -> PathBuf {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("keywheel-layers-{}-{count}", std::process::id()));
        std::fs::create_dir_all(home.join("config")).unwrap();
        std::fs::write(home.join("config/defaults.json"), defaults).unwrap();
        home
    }

    /// The Debug text of what was understood, which has every flag in it.
    fn understood(words: &str, environment: &[(&str, &str)], defaults: &str) -> String {
        match read_with(words, environment, defaults) {
            Ok(invocation) => format!("{:?}", invocation.cli),
            Err(refusal) => panic!("{words}: {refusal:?}"),
        }
    }

    fn refused(words: &str, environment: &[(&str, &str)]) -> String {
        let refusal = read_with(words, environment, "{}").unwrap_err();
        refusal.failure().unwrap_or_else(|| panic!("{words} was understood")).message()
    }

    const REKEY: &str = "keywheel ca rekey a.crt a.key";

    #[test]
    fn the_command_line_comes_before_the_environment_and_that_before_the_defaults() {
        let defaults = r#"{"ca-url": "https://file"}"#;
        let variable = [("STEP_CA_URL", "https://environment")];
        let flag = format!("{REKEY} --ca-url https://flag");
        assert!(understood(&flag, &variable, defaults).contains(r#"ca_url: Some("https://flag")"#));
        assert!(understood(REKEY, &variable, defaults).contains(r#"ca_url: Some("https://environment")"#));
        assert!(understood(REKEY, &[], defaults).contains(r#"ca_url: Some("https://file")"#));
        assert!(understood(REKEY, &[], "{}").contains("ca_url: None"));
    }

    #[test]
    fn force_has_both_of_its_variables_and_curve_has_both_of_its_names() {
        for variable in ["STEP_F", "STEP_FORCE"] {
            assert!(understood(REKEY, &[(variable, "1")], "{}").contains("force: true"), "{variable}");
        }
        for variable in ["STEP_CRV", "STEP_CURVE"] {
            assert!(understood(REKEY, &[(variable, "P-384")], "{}").contains(r#"curve: Some("P-384")"#), "{variable}");
        }
    }

    #[test]
    fn a_switch_can_be_turned_off_over_the_environment() {
        let words = format!("{REKEY} --force=false");
        assert!(understood(&words, &[("STEP_FORCE", "true")], "{}").contains("force: false"));
        assert!(understood(&format!("{REKEY} --force=true"), &[], "{}").contains("force: true"));
        let renew = "keywheel ca renew --mtls=false a.crt a.key";
        assert!(understood(renew, &[], "{}").contains("mtls: false"));
        assert!(understood("keywheel ca renew a.crt a.key", &[("STEP_MTLS", "false")], "{}").contains("mtls: false"));
    }

    #[test]
    fn a_switch_that_is_neither_on_nor_off_is_named_with_its_origin() {
        assert_eq!(
            refused(REKEY, &[("STEP_FORCE", "maybe")]),
            "invalid value 'maybe' for flag '--force' (from STEP_FORCE)"
        );
        assert_eq!(refused(&format!("{REKEY} --force=maybe"), &[]), "invalid value 'maybe' for flag '--force'");
    }

    #[test]
    fn flags_may_follow_positionals_and_have_one_dash() {
        let text = understood("keywheel ca rekey -force a.crt --out-cert=b.crt a.key -expires-in -1.5h", &[], "{}");
        for part in [r#"force: true"#, r#"out_cert: Some("b.crt")"#, r#"expires_in: Some("-1.5h")"#] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn the_spellings_of_the_examples_of_the_reference_are_understood() {
        let text = understood(&format!("{REKEY} --out-crt foo.crt --out-key foo.key --key new.key"), &[], "{}");
        for part in [r#"out_cert: Some("foo.crt")"#, r#"out_key: Some("foo.key")"#, r#"private_key: Some("new.key")"#] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn the_last_of_equal_flags_counts() {
        let text = understood(&format!("{REKEY} --ca-url https://a --ca-url https://b"), &[], "{}");
        assert!(text.contains(r#"ca_url: Some("https://b")"#));
    }

    #[test]
    fn several_values_of_a_variable_are_separated_by_commas() {
        let words = "keywheel ca certificate s a.crt a.key";
        assert!(understood(words, &[("STEP_SAN", "a,b")], "{}").contains(r#"san: ["a", "b"]"#));
    }

    #[test]
    fn numbers_and_truth_in_the_defaults_are_taken() {
        let text = understood(REKEY, &[], r#"{"force": true, "signal": 10, "kty": null, "size": ""}"#);
        assert!(text.contains("force: true") && text.contains("signal: Some(10)"), "{text}");
    }

    #[test]
    fn a_new_ca_does_not_take_over_the_defaults_of_another() {
        let text = understood("keywheel ca init", &[], r#"{"provisioner": "other", "password-file": "p"}"#);
        assert!(text.contains("provisioner: None"));
    }

    #[test]
    fn provisioners_are_asked_of_the_ca_unless_a_configuration_is_named_by_hand() {
        let defaults = r#"{"ca-url": "https://file", "ca-config": "ca.json"}"#;
        let text = understood("keywheel ca provisioner list", &[], defaults);
        assert!(text.contains("ca_config: None") && text.contains(r#"ca_url: Some("https://file")"#), "{text}");
        let text = understood("keywheel ca provisioner list --ca-config other.json", &[], defaults);
        assert!(text.contains(r#"ca_config: Some("other.json")"#), "{text}");
    }

    #[test]
    fn a_wrong_command_line_is_refused_in_the_words_of_the_reference() {
        for (words, message) in [
            (
                "keywheel ca rekey a.crt",
                "not enough positional arguments were provided in 'keywheel ca rekey <crt-file> <key-file>'",
            ),
            (
                "keywheel ca rekey a b c",
                "too many positional arguments were provided in 'keywheel ca rekey <crt-file> <key-file>'",
            ),
            (
                "/usr/bin/step ca rekey a",
                "not enough positional arguments were provided in 'step ca rekey <crt-file> <key-file>'",
            ),
            ("keywheel ca rekey --bogus a b", "flag provided but not defined: --bogus"),
            ("keywheel ca rekey --pid x a b", "invalid value 'x' for flag '--pid'; invalid digit found in string"),
            ("keywheel ca rekey a b --exec", "flag '--exec' needs a value"),
            ("keywheel ca bogus", "'keywheel ca' has no command 'bogus'"),
        ] {
            assert_eq!(refused(words, &[]), message);
        }
    }
}
