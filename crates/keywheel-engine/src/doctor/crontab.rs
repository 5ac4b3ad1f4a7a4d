//! Cron jobs: tables of the system, tables of users, and scripts that run every day.

use std::path::{Path, PathBuf};

use keywheel_core::doctor::CommandLine;

use super::Note;
use super::unit::{regular_files, split_words, text_of};

/// How a file of cron jobs is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Five times, the user, the command.
    System,
    /// Five times, the command.
    User,
    /// A shell script.
    Script,
}

/// All commands of the cron jobs in these folders.
pub(super) fn commands(folders: &[PathBuf], notes: &mut Vec<Note>) -> Vec<CommandLine> {
    let mut all = Vec::new();
    for folder in folders {
        let Some(form) = form(folder) else { continue };
        let files = if folder.is_file() { vec![folder.clone()] } else { regular_files(folder, notes) };
        for file in files {
            if let Some(text) = text_of(&file, notes) {
                all.extend(commands_of(&file.to_string_lossy(), &text, form));
            }
        }
    }
    all
}

/// The form goes by the name of the folder, or of the one file.
fn form(path: &Path) -> Option<Form> {
    let name = path.file_name()?.to_str()?;
    match name {
        "crontabs" | "tabs" | "cron" => Some(Form::User),
        "cron.d" | "crontab" => Some(Form::System),
        "cron.hourly" | "cron.daily" | "cron.weekly" | "cron.monthly" => Some(Form::Script),
        _ => None,
    }
}

fn commands_of(file: &str, text: &str, form: Form) -> Vec<CommandLine> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(command) = command(line.trim(), form) else { continue };
        all.push(CommandLine {
            file: file.to_owned(),
            line: index + 1,
            text: line.to_owned(),
            words: split_words(command),
            unit: None,
        });
    }
    all
}

/// The command of a line, without times and user.
fn command(line: &str, form: Form) -> Option<&str> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if form == Form::Script {
        return Some(line);
    }
    let times = if line.starts_with('@') { 1 } else { 5 };
    let fields = times + usize::from(form == Form::System);
    // `MAILTO=root` has no times.
    let starts_as_time = line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '*' | '@'));
    starts_as_time.then(|| after_fields(line, fields)).flatten()
}

fn after_fields(line: &str, fields: usize) -> Option<&str> {
    (0..fields).try_fold(line, |rest, _| rest.split_once(char::is_whitespace).map(|(_, rest)| rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_user_are_no_part_of_the_command() {
        assert_eq!(command("0 */12 * * * root certbot -q renew", Form::System), Some("certbot -q renew"));
        assert_eq!(
            command("12 3 * * * \"/root/.acme.sh\"/acme.sh --cron", Form::User),
            Some("\"/root/.acme.sh\"/acme.sh --cron")
        );
        assert_eq!(command("@daily\troot  lego renew", Form::System), Some("lego renew"));
        assert_eq!(command("step ca renew a b", Form::Script), Some("step ca renew a b"));
        for line in ["MAILTO=root", "# 0 0 * * * root certbot renew", "", "0 0 * *"] {
            assert_eq!(command(line, Form::System), None, "{line}");
        }
    }

    #[test]
    fn the_form_goes_by_the_name() {
        assert_eq!(form(Path::new("/var/spool/cron/crontabs")), Some(Form::User));
        assert_eq!(form(Path::new("/etc/cron.d")), Some(Form::System));
        assert_eq!(form(Path::new("/etc/systemd/system")), None);
    }
}
