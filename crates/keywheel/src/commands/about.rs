//! The commands about the program itself: `path`, `version`, `completion`, `man`.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;

use super::{DONE, Setting};
use crate::arguments;
use crate::failure::{Classed, Outcome};

/// Flags of `path`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel path\n  keywheel path --base")]
pub(crate) struct PathFlags {
    /// The folder itself, whatever the current context is
    #[arg(long)]
    base: bool,
    /// The folder of the current profile
    #[arg(long)]
    profile: bool,
}

/// Flags of `completion`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel completion bash >> ~/.bash_completion\n  keywheel completion fish | source"
)]
pub(crate) struct CompletionFlags {
    /// The shell
    #[arg(value_name = "shell")]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel man | man -l -\n  keywheel man --output-dir /usr/local/share/man/man1")]
pub(crate) struct ManFlags {
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "dir")]
    output_dir: Option<PathBuf>,
}

pub(crate) fn path(flags: &PathFlags, setting: &Setting<'_>) -> Outcome {
    let path = match flags {
        PathFlags { base: true, .. } => setting.home.base().to_owned(),
        PathFlags { profile: true, .. } => setting.home.profile(),
        _ => setting.home.path(),
    };
    setting.voice.result(path.display().to_string())?;
    setting.voice.json(&serde_json::json!({"path": path}))?;
    DONE
}

pub(crate) fn version(setting: &Setting<'_>) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    setting.voice.result(format!("keywheel {version} ({platform})"))?;
    setting.voice.json(&serde_json::json!({"name": "keywheel", "version": version, "platform": platform}))?;
    DONE
}

pub(crate) fn completion(flags: &CompletionFlags, setting: &Setting<'_>) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut arguments::definition(setting.program), setting.program, &mut script);
    if setting.voice.speaks_json() {
        let shell = flags.shell.to_string();
        setting.voice.json(&serde_json::json!({"shell": shell, "script": String::from_utf8_lossy(&script)}))?;
    } else {
        setting.voice.raw(&script)?;
    }
    DONE
}

pub(crate) fn man(flags: &ManFlags, setting: &Setting<'_>) -> Outcome {
    let command = arguments::definition(setting.program);
    match &flags.output_dir {
        None => {
            let page = page(&command, setting.program)?;
            if setting.voice.speaks_json() {
                let page = String::from_utf8_lossy(&page);
                setting.voice.json(&serde_json::json!({"folder": null, "pages": 1, "page": page}))?;
            } else {
                setting.voice.raw(&page)?;
            }
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).or_failed(|| format!("make the folder {}", folder.display()))?;
            let pages = write_pages(&command, setting.program.to_owned(), folder)?;
            setting.voice.done("Manual pages", format!("{pages} in {}", folder.display()));
            setting.voice.json(&serde_json::json!({"folder": folder, "pages": pages, "page": null}))?;
        }
    }
    DONE
}

fn page(command: &clap::Command, name: &str) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned()))
        .render(&mut text)
        .or_failed(|| format!("write the manual page of {name}"))?;
    Ok(text)
}

fn write_pages(command: &clap::Command, name: String, folder: &Path) -> Outcome<usize> {
    let file = folder.join(format!("{name}.1"));
    std::fs::write(&file, page(command, &name)?).or_failed(|| format!("write {}", file.display()))?;
    let mut pages = 1;
    for sub in command.get_subcommands() {
        pages += write_pages(sub, format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(pages)
}
