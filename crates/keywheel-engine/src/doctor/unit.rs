//! The commands of systemd's services: units, their drop-ins, what overrides what, and the words of a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keywheel_core::doctor::CommandLine;

use super::Note;
use super::walk::read_regular;

/// No unit or crontab is longer.
const MAX_TEXT: usize = 1 << 18;
/// No machine has more in one folder.
const MAX_FILES: usize = 10_000;

/// All commands of the services in these folders; the first folder wins.
pub(super) fn commands(folders: &[PathBuf], notes: &mut Vec<Note>) -> Vec<CommandLine> {
    let mut units: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut drop_ins: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for file in named(folder, notes) {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            if let Some(unit) = name.strip_suffix(".d").filter(|unit| unit.ends_with(".service")) {
                for part in
                    regular_files(&file, notes).into_iter().filter(|part| part.extension() == Some("conf".as_ref()))
                {
                    let own = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    drop_ins.entry(unit.to_owned()).or_default().entry(own).or_insert(part);
                }
            } else if name.ends_with(".service") {
                // A link to /dev/null masks the unit of the folders after this one.
                units.entry(name.to_owned()).or_insert(file);
            }
        }
    }
    let mut all = Vec::new();
    for (name, file) in units {
        if !file.is_file() {
            continue;
        }
        let parts = drop_ins.remove(&name).unwrap_or_default();
        let mut service = Service::default();
        for part in std::iter::once(&file).chain(parts.values()) {
            if let Some(text) = text_of(part, notes) {
                service.read(&part.to_string_lossy(), &text);
            }
        }
        all.extend(service.commands(&name));
    }
    all
}

/// The regular files of a folder, in order; links to such files are followed.
pub(super) fn regular_files(folder: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    named(folder, notes).into_iter().filter(|path| path.is_file()).collect()
}

/// The text of a file, as far as it is text.
pub(super) fn text_of(file: &Path, notes: &mut Vec<Note>) -> Option<String> {
    match read_regular(file) {
        Ok(bytes) if bytes.len() <= MAX_TEXT => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(_) => None,
        Err(error) => {
            notes.push(Note { path: file.to_string_lossy().into_owned(), reason: error.to_string() });
            None
        }
    }
}

/// The words of a command: quotes are taken off, what a shell is given to run is taken apart, too.
pub(super) fn split_words(command: &str) -> Vec<String> {
    let plain = || command.split_whitespace().map(str::to_owned).collect();
    let mut words: Vec<String> = Vec::new();
    for word in shlex::split(command).unwrap_or_else(plain) {
        let script =
            words.last().is_some_and(|last| last.starts_with('-') && last.ends_with('c')) && word.contains(' ');
        let parts = if script { split_words(&word) } else { vec![word] };
        for part in parts {
            match part.strip_suffix(';').filter(|rest| !rest.is_empty()) {
                Some(rest) => words.extend([rest.to_owned(), ";".to_owned()]),
                None => words.push(part),
            }
        }
    }
    words
}

fn named(folder: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let mut files: Vec<PathBuf> =
                entries.filter_map(Result::ok).map(|entry| entry.path()).take(MAX_FILES).collect();
            files.sort();
            files
        }
        Err(error) => {
            notes.push(Note { path: folder.to_string_lossy().into_owned(), reason: error.to_string() });
            Vec::new()
        }
    }
}

/// What a unit and its drop-ins say together.
#[derive(Default)]
struct Service {
    commands: BTreeMap<String, Vec<Line>>,
    environment: BTreeMap<String, String>,
    folder: Option<String>,
}

/// An assignment, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    file: String,
    number: usize,
    text: String,
    value: String,
}

impl Service {
    fn read(&mut self, file: &str, text: &str) {
        for (key, line) in assignments(file, text) {
            match key.as_str() {
                "ExecStart" | "ExecStartPre" | "ExecStartPost" | "ExecReload" => {
                    let commands = self.commands.entry(key).or_default();
                    // An empty value takes back what was said before.
                    if line.value.is_empty() { commands.clear() } else { commands.push(line) }
                }
                "Environment" if line.value.is_empty() => self.environment.clear(),
                "Environment" => {
                    self.environment.extend(split_words(&line.value).iter().filter_map(|word| {
                        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                    }))
                }
                "WorkingDirectory" => self.folder = Some(line.value.trim_start_matches('-').to_owned()),
                _ => {}
            }
        }
    }

    fn commands(self, unit: &str) -> Vec<CommandLine> {
        let Self { commands, environment, folder } = self;
        let of_line = |line: Line| {
            let command = expand(line.value.trim_start_matches(['@', '-', ':', '+', '!', '|']), &environment);
            let words = split_words(&command).into_iter().map(|word| absolute(word, folder.as_deref())).collect();
            CommandLine { file: line.file, line: line.number, text: line.text, words, unit: Some(unit.to_owned()) }
        };
        commands.into_values().flatten().map(of_line).collect()
    }
}

/// The assignments of the section `[Service]`; a line that ends in `\` goes on in the next one.
fn assignments(file: &str, text: &str) -> Vec<(String, Line)> {
    let mut all = Vec::new();
    let mut section = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let trimmed = first.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        if section != "Service" || trimmed.starts_with(['#', ';', '[']) {
            continue;
        }
        let (mut whole, mut value) = (first.to_owned(), trimmed.to_owned());
        while let Some(begun) = value.strip_suffix('\\') {
            let Some((_, next)) = lines.next() else { break };
            whole = format!("{whole}\n{next}");
            // Comments between continued lines are skipped.
            let more = if next.trim_start().starts_with(['#', ';']) { "\\" } else { next.trim() };
            value = format!("{begun} {more}");
        }
        if let Some((key, value)) = value.split_once('=') {
            let line = Line { file: file.to_owned(), number: index + 1, text: whole, value: value.trim().to_owned() };
            all.push((key.trim().to_owned(), line));
        }
    }
    all
}

/// `${NAME}` and `$NAME`, as far as the unit itself says what they are.
fn expand(command: &str, environment: &BTreeMap<String, String>) -> String {
    environment.iter().rev().fold(command.to_owned(), |command, (name, value)| {
        command.replace(&format!("${{{name}}}"), value).replace(&format!("${name} "), &format!("{value} "))
    })
}

/// A relative name of a certificate or a key counts from the working directory.
fn absolute(word: String, folder: Option<&str>) -> String {
    let is_file = !word.starts_with(['-', '/']) && super::content::is_pair_name(&word) && !word.contains(' ');
    match folder.filter(|folder| is_file && folder.starts_with('/')) {
        Some(folder) => format!("{}/{word}", folder.trim_end_matches('/')),
        None => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands_of(text: &str) -> Vec<Vec<String>> {
        let mut service = Service::default();
        service.read("x.service", text);
        service.commands("x.service").into_iter().map(|command| command.words).collect()
    }

    #[test]
    fn a_line_goes_on_and_its_variables_are_put_in() {
        let text = "[Unit]\nExecStart=no\n[Service]\nEnvironment=A=/etc/x/%i.crt \\\n  B=/etc/x/%i.key\n; remark\n\
            ExecStart=-/usr/bin/step ca renew \\\n# remark\n  --force ${A} $B \\\n  --daemon\n";
        let words = ["/usr/bin/step", "ca", "renew", "--force", "/etc/x/%i.crt", "/etc/x/%i.key", "--daemon"];
        assert_eq!(commands_of(text), [words.map(str::to_owned).to_vec()]);
    }

    proptest::proptest! {
        #[test]
        fn rubbish_never_panics(text in "(\\[Service\\]\n)?[A-Za-z=\\\\ \"'$%{};#\n\\[\\]]{0,120}") {
            let _ = commands_of(&text);
            let _ = split_words(&text);
        }
    }

    #[test]
    fn an_empty_value_takes_back_what_was_said() {
        let text = "[Service]\nExecStart=step ca renew a b\nExecStart=\nExecStart=keywheel ca rekey a b\n";
        assert_eq!(commands_of(text).len(), 1);
        assert_eq!(commands_of(text)[0][0], "keywheel");
    }

    #[test]
    fn what_a_shell_is_given_is_taken_apart() {
        let words = split_words("/bin/sh -c \"certbot renew; systemctl reload nginx\"");
        assert_eq!(words, ["/bin/sh", "-c", "certbot", "renew", ";", "systemctl", "reload", "nginx"]);
        assert_eq!(split_words("an 'open quote"), ["an", "'open", "quote"]);
    }

    #[test]
    fn a_relative_name_counts_from_the_working_directory() {
        let text = "[Service]\nWorkingDirectory=/srv/x\nExecStart=step ca renew svc.crt svc.key\n";
        assert_eq!(commands_of(text)[0][3..], ["/srv/x/svc.crt", "/srv/x/svc.key"]);
    }
}
