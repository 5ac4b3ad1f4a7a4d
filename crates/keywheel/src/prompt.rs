//! Questions to a person, asked only where there is a terminal.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};

/// Whether there is somebody to ask.
pub(crate) fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks whether each of these files that exists may be overwritten. Without a terminal it is an error that names `--force`.
///
/// All of it is asked before anything is done, so that a "no" changes nothing.
pub(crate) fn may_overwrite<'a>(force: bool, paths: impl IntoIterator<Item = &'a Path>) -> Outcome<()> {
    let mut asked: Vec<&Path> = Vec::new();
    for path in paths {
        if path.is_dir() {
            return Err(Failure::usage(format!("{} is a directory; nothing was changed", path.display())));
        }
        if force || asked.contains(&path) || path.symlink_metadata().is_err() || is_device(path) {
            continue;
        }
        if !somebody_is_there() {
            return Err(Failure::usage(format!("{} exists; nothing was changed", path.display()))
                .hint("overwrite it with --force, or name another file"));
        }
        if !yes(&format!("Would you like to overwrite {}", path.display()))? {
            return Err(Failure::failed(format!("{} exists and is to be kept; nothing was changed", path.display())));
        }
        asked.push(path);
    }
    Ok(())
}

/// A yes or no question without a default.
pub(crate) fn yes(question: &str) -> Outcome<bool> {
    loop {
        let answer = line(&format!("? {question} [y/n]"))?;
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

/// A line of text, or the error that names the flag.
pub(crate) fn text(question: &str, flag: &str, default: Option<&str>) -> Outcome<String> {
    need_somebody(flag)?;
    loop {
        let shown = default.map(|default| format!(" ({default})")).unwrap_or_default();
        let answer = line(&format!("? {question}{shown}"))?;
        match (answer.is_empty(), default) {
            (false, _) => return Ok(answer),
            (true, Some(default)) => return Ok(default.to_owned()),
            (true, None) => {}
        }
    }
}

/// A password, not shown, or the error that names the flag. It may be empty where `empty_means` says what that means.
pub(crate) fn password(question: &str, flag: &str, empty_means: Option<&str>) -> Outcome<Zeroizing<Vec<u8>>> {
    need_somebody(flag)?;
    let shown = empty_means.map(|meaning| format!(" [leave empty {meaning}]")).unwrap_or_default();
    loop {
        let answer = hidden_line(&format!("? {question}{shown}"))?;
        if !answer.is_empty() || empty_means.is_some() {
            return Ok(answer);
        }
    }
}

/// Which of several, or the error that names the flag.
pub(crate) fn choose(question: &str, flag: &str, choices: &[String]) -> Outcome<usize> {
    need_somebody(flag)?;
    let mut list = String::new();
    for (index, choice) in choices.iter().enumerate() {
        list.push_str(&format!("  {}) {choice}\n", index + 1));
    }
    loop {
        let answer = line(&format!("{list}? {question} (1-{})", choices.len()))?;
        match answer.parse::<usize>() {
            Ok(number) if (1..=choices.len()).contains(&number) => return Ok(number - 1),
            _ => {}
        }
    }
}

fn need_somebody(flag: &str) -> Outcome<()> {
    if somebody_is_there() {
        Ok(())
    } else {
        Err(Failure::usage(format!("{flag} is needed where there is no terminal to ask")))
    }
}

fn line(question: &str) -> Outcome<String> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question}: ").and_then(|()| err.flush()).or_failed(|| "ask".into())?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer).or_failed(|| "read the answer".into())?;
    if read == 0 {
        return Err(Failure::failed("the answer did not come; nothing was changed"));
    }
    Ok(answer.trim().to_owned())
}

/// A line that is not shown while it is typed.
///
/// The terminal sends no signals meanwhile: Ctrl-C would end the program and leave a terminal that shows nothing more. It
/// ends the line instead, and then the program, in order.
fn hidden_line(question: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
    const INTERRUPT: u8 = 3;
    let doing = || "read the password".to_owned();
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin).or_failed(doing)?;
    let mut hidden = shown.clone();
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
    hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    let mut err = std::io::stderr().lock();
    write!(err, "{question}: ").and_then(|()| err.flush()).or_failed(|| "ask".into())?;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).or_failed(doing)?;
    // Room for the longest line of a terminal: growing would leave copies behind.
    let mut typed = Zeroizing::new(vec![0; 4096]);
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&stdin, typed.as_mut_slice()));
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &shown);
    let _unheard = writeln!(err);
    typed.truncate(read.or_failed(doing)?);
    restored.or_failed(doing)?;
    match typed.last() {
        Some(&INTERRUPT) => return Err(Failure::new(Exit::Own(130), "interrupted; nothing was changed")),
        None => return Err(Failure::failed("the answer did not come; nothing was changed")),
        Some(_) => {}
    }
    while matches!(typed.last(), Some(b'\n' | b'\r')) {
        typed.pop();
    }
    std::str::from_utf8(&typed).or_usage(doing)?;
    Ok(typed)
}

/// Writing to `/dev/stdout` and the like overwrites nothing.
fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_char_device() || kind.is_fifo() || kind.is_socket()
    })
}
