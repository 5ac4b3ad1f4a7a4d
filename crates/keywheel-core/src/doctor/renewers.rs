//! What renews certificates, and whether it ever changes their keys.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::kind::Kind;
use super::managers::{Manager, Order, Steps, new_key_setting};
use super::scene::{Scene, join, split};
use super::{CommandLine, Estate, File, Finding, Setting, words};

/// A command that renews certificates again and again.
pub(super) struct Renewer<'a> {
    line: &'a CommandLine,
    tool: Tool,
    /// The word that names the program, as it stands there.
    program: &'a str,
    /// The words after it.
    arguments: Vec<&'a str>,
    /// The certificate and the key that it names; a `%` stands for something in the names of templates.
    pub(super) files: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    StepRenew,
    StepRekey,
    OurRenew,
    OurRekey,
    OurAgent,
    Certbot,
    AcmeSh,
    Lego,
    Caddy,
}

/// The commands that renew something.
pub(super) fn known(estate: &Estate) -> Vec<Renewer<'_>> {
    estate.commands.iter().flat_map(of_line).collect()
}

/// Renewers that keep keys: by their command, or by their settings.
pub(super) fn judge(scene: &Scene<'_>, renewers: &[Renewer<'_>]) -> Vec<Finding> {
    let by_command = renewers.iter().filter_map(|renewer| {
        let why = renewer.keeps_key()?;
        Some(Finding {
            kind: Kind::RenewerKeepsKey,
            files: vec![renewer.line.file.clone()],
            message: format!("line {}: {why}", renewer.line.line),
            fix: renewer.mend(),
        })
    });
    let by_settings = scene.estate.settings.iter().filter_map(|setting| by_setting(scene, setting));
    by_command.chain(by_settings).collect()
}

/// Whether something is known that renews the certificate of a file.
pub(super) fn renews(scene: &Scene<'_>, renewers: &[Renewer<'_>], certificate: &File) -> bool {
    let tool = match Manager::of(scene, certificate) {
        Manager::Certbot { .. } => Some(Tool::Certbot),
        Manager::AcmeSh { .. } => Some(Tool::AcmeSh),
        Manager::Lego { .. } => Some(Tool::Lego),
        Manager::Caddy { .. } => Some(Tool::Caddy),
        Manager::Plain => None,
    };
    let is_of_agent = scene
        .estate
        .settings
        .iter()
        .any(|setting| matches!(setting, Setting::Agent { certificate: named, .. } if fits(named, certificate)));
    renewers.iter().any(|renewer| {
        let all = tool == Some(renewer.tool) || (is_of_agent && renewer.tool == Tool::OurAgent);
        all || renewer.files.iter().any(|file| fits(file, certificate))
    })
}

/// Whether the settings of a tool keep the key of this file, which is said at the settings.
pub(super) fn is_kept_by_settings(scene: &Scene<'_>, file: &File) -> bool {
    let manager = Manager::of(scene, file);
    scene.estate.settings.iter().any(|setting| match (setting, &manager) {
        (Setting::Certbot { root, name, reuse_key, .. }, Manager::Certbot { root: own, name: lineage }) => {
            *reuse_key && root == own && name == lineage
        }
        (Setting::AcmeSh { file, new_key, .. }, Manager::AcmeSh { settings, .. }) => !new_key && file == settings,
        _ => false,
    })
}

/// How the pair is replaced as it always is, with its hook and its proof: by its service or cron job.
pub(super) fn usual_command(renewers: &[Renewer<'_>], certificate: &File) -> Option<Steps> {
    let ours = renewers.iter().filter(|renewer| renewer.tool == Tool::OurRekey);
    let renewer = ours.into_iter().find(|renewer| renewer.files.iter().any(|file| fits(file, certificate)))?;
    let template = renewer.files.iter().any(|file| file.contains('%'));
    let verb = if renewer.says("--daemon") { "restart" } else { "start" };
    match renewer.line.unit.as_deref() {
        _ if template => None,
        Some(unit) => Some(vec![words(["systemctl", verb, unit])]),
        None => {
            let program = core::iter::once(renewer.program).chain(renewer.arguments.iter().copied());
            Some(vec![program.map(String::from).collect()])
        }
    }
}

fn of_line(line: &CommandLine) -> Option<Renewer<'_>> {
    line.words.iter().enumerate().find_map(|(index, program)| {
        let rest = line.words.get(index + 1..)?.iter().map(String::as_str);
        let arguments: Vec<&str> = rest.take_while(|word| !["&&", "||", ";", "|", "&"].contains(word)).collect();
        let plain: Vec<&str> = arguments.iter().copied().filter(|word| !word.starts_with('-')).collect();
        let says = |word: &str| plain.contains(&word);
        let tool = match (split(program).1, plain.as_slice()) {
            ("step", ["ca", "renew", ..]) => Tool::StepRenew,
            ("step", ["ca", "rekey", ..]) => Tool::StepRekey,
            ("keywheel", ["ca", "renew", ..]) => Tool::OurRenew,
            ("keywheel", ["ca", "rekey", ..]) => Tool::OurRekey,
            ("keywheel", ["agent", ..]) => Tool::OurAgent,
            ("certbot" | "certbot-auto" | "letsencrypt", _) if says("renew") || says("certonly") => Tool::Certbot,
            ("acme.sh", _) if arguments.contains(&"--cron") || arguments.contains(&"--renew-all") => Tool::AcmeSh,
            ("lego", _) if says("renew") || says("run") => Tool::Lego,
            ("caddy", ["run" | "start", ..]) => Tool::Caddy,
            _ => return None,
        };
        let of_ours = [Tool::StepRenew, Tool::StepRekey, Tool::OurRenew, Tool::OurRekey].contains(&tool);
        let files = if of_ours { operands(&arguments) } else { Vec::new() };
        Some(Renewer { line, tool, program, arguments, files })
    })
}

/// The certificate and the key: both come last, or before all flags.
fn operands<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let rest = arguments.get(2..).unwrap_or_default();
    let is_file = |word: &&&str| !word.starts_with('-') && !word.contains('=');
    if let Some(at) = rest.iter().position(|word| *word == "--combined") {
        let one = rest.get(at + 1).into_iter().copied();
        return one.clone().chain(one).collect();
    }
    let last: Vec<&str> = rest.iter().rev().take(2).take_while(is_file).copied().collect();
    if let [key, certificate] = last[..] {
        // `a.crt a.key --exec 'x y'` ends in a value of a flag.
        let before = rest.len().checked_sub(3).and_then(|index| rest.get(index));
        if !before.is_some_and(|word| takes_value(word)) {
            return vec![certificate, key];
        }
    }
    rest.iter().take(2).take_while(is_file).copied().collect()
}

fn takes_value(word: &str) -> bool {
    const SWITCHES: [&str; 5] = ["--daemon", "--force", "-f", "--offline", "--mtls"];
    word.starts_with('-') && !word.contains('=') && !SWITCHES.contains(&word)
}

impl Renewer<'_> {
    fn says(&self, flag: &str) -> bool {
        self.arguments.contains(&flag)
    }

    /// Why it never changes the key, if it does not.
    fn keeps_key(&self) -> Option<&'static str> {
        match self.tool {
            Tool::StepRenew => Some("`step ca renew` asks for a new certificate and keeps the key for ever"),
            Tool::StepRekey if self.says("--daemon") => {
                Some("`step ca rekey --daemon` only pretends: its daemon renews with the old key")
            }
            Tool::OurRenew => Some("`keywheel ca renew` asks for a new certificate and keeps the key for ever"),
            Tool::Certbot if self.says("--reuse-key") && !self.says("--new-key") => {
                Some("`--reuse-key` makes certbot keep the key for ever")
            }
            Tool::Lego if self.says("--reuse-key") => Some("`--reuse-key` makes lego keep the key for ever"),
            _ => None,
        }
    }

    /// Other words in the place of those that keep the key.
    fn mend(&self) -> Option<Steps> {
        let program = escaped(self.program);
        let (sought, put) = match self.tool {
            Tool::StepRenew | Tool::OurRenew => (vec![program, "ca".into(), "renew".into()], "keywheel ca rekey"),
            Tool::StepRekey => (vec![program, "ca".into(), "rekey".into()], "keywheel ca rekey"),
            _ => (vec!["--reuse-key".to_string()], ""),
        };
        let in_one_line = self.line.text.lines().any(|line| {
            let words: Vec<String> =
                line.split(['=', '"', '\'', ' ', '\t']).filter(|word| !word.is_empty()).map(escaped).collect();
            words.windows(sought.len()).any(|window| window == sought)
        });
        let unit = self.line.unit.as_deref();
        if !in_one_line {
            let edit = match unit {
                Some(unit) => words(["systemctl", "edit", "--full", unit]),
                None => words(["crontab", "-e"]),
            };
            return Some(vec![edit]);
        }
        let pattern = sought.join("[[:space:]]+");
        let mut change = words(["sed", "-E", "-i", "-e", &format!("s#{pattern}#{put}#")]);
        if self.says("--renew-period") {
            change.extend(words(["-e", "s/--renew-period/--rekey-period/"]));
        }
        let (folder, name) = split(&self.line.file);
        let mut steps = Vec::new();
        let own = match unit {
            // What a package installed is replaced by its next version: a copy of the administrator's wins over it.
            Some(_) if folder.contains("/lib/systemd/") => {
                let own = join("/etc/systemd/system", name);
                steps.push(words(["cp", "--", &self.line.file, &own]));
                own
            }
            _ => self.line.file.clone(),
        };
        change.push(own);
        steps.push(change);
        if unit.is_some() {
            steps.push(words(["systemctl", "daemon-reload"]));
        }
        Some(steps)
    }
}

/// As an extended regular expression between `#`.
fn escaped(text: impl AsRef<str>) -> String {
    let mut escaped = String::new();
    for letter in text.as_ref().chars() {
        if r"\.[]{}()*+?^$|#&".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Whether the file that a command names is this one; `%i` of a template stands for anything.
fn fits(named: &str, file: &File) -> bool {
    [file.path.as_str(), file.real.as_str()].into_iter().any(|path| match named.find('%') {
        None => path == named,
        Some(at) => {
            let (head, tail) = named.split_at(at);
            let tail = tail.get(2..).unwrap_or_default();
            path.len() > head.len() + tail.len()
                && path.starts_with(head)
                && path.ends_with(tail)
                && path.get(head.len()..path.len() - tail.len()).is_some_and(|middle| !middle.contains('/'))
        }
    })
}

fn by_setting(scene: &Scene<'_>, setting: &Setting) -> Option<Finding> {
    let (file, why, fix) = match setting {
        Setting::Certbot { file, root, name, reuse_key: true } => {
            let link = scene.file(&join(&join(&join(root, "live"), name), "cert.pem"));
            let fix = link.and_then(|link| Manager::of(scene, link).order(Order::NewKey, link, link));
            (file, "`reuse_key = True` makes certbot keep the key of this certificate for ever", fix)
        }
        Setting::AcmeSh { file, new_key: false, .. } => {
            let why = "acme.sh keeps the key of this certificate for ever, unless Le_ForceNewDomainKey says otherwise";
            (file, why, Some(vec![new_key_setting(file)]))
        }
        Setting::Reuse { file, line } => {
            let mut fix = vec![words(["sed", "-i", &format!("/{}/d", escaped_line(line)), file])];
            if line.contains("reuse_private_keys") {
                fix.push(words(["systemctl", "reload", "caddy"]));
            }
            (file, "a setting makes it keep keys for ever", Some(fix))
        }
        _ => return None,
    };
    Some(Finding { kind: Kind::RenewerKeepsKey, files: vec![file.clone()], message: why.into(), fix })
}

/// A whole line as a basic regular expression between slashes.
fn escaped_line(line: &str) -> String {
    format!("^[[:space:]]*{}[[:space:]]*$", line.trim().replace('\\', r"\\").replace('.', r"\.").replace('/', r"\/"))
}
