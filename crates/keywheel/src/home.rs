//! Where the program keeps its things: `$STEPPATH`, its contexts, and `defaults.json`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};

/// The folder of the person, or of one context within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    base: PathBuf,
    context: Option<Context>,
    new_context: Option<String>,
}

/// A named CA environment within a home, as the reference lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    authority: String,
    profile: String,
}

/// A file of settings is never larger than this.
const LIMIT: u64 = 1 << 20;

impl Home {
    /// `--home`, else `STEPPATH`, else `~/.step`; within it `--context`, else the current context.
    ///
    /// A command that makes a CA environment may name a context that there is not yet.
    pub(crate) fn find(
        flag: Option<&Path>,
        context: Option<&str>,
        may_be_new: bool,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Outcome<Self> {
        let base = match flag {
            Some(path) => absolute(path)?,
            None => match environment("STEPPATH").filter(|path| !path.is_empty()) {
                Some(path) => absolute(Path::new(&path))?,
                None => match environment("HOME").filter(|path| !path.is_empty()) {
                    Some(home) => Path::new(&home).join(".step"),
                    None => {
                        return Err(
                            Failure::usage("neither STEPPATH nor HOME is set").hint("name a folder with --home")
                        );
                    }
                },
            },
        };
        if let Some(name) = context.filter(|_| may_be_new)
            && object(&base.join("contexts.json"))?.is_none_or(|contexts| !contexts.contains_key(name))
        {
            if !is_plain(name) {
                return Err(Failure::usage(format!("invalid value '{name}' for flag '--context'")));
            }
            let context = Context { authority: name.to_owned(), profile: name.to_owned() };
            return Ok(Self { base, context: Some(context), new_context: Some(name.to_owned()) });
        }
        let context = find_context(&base, context)?;
        Ok(Self { base, context, new_context: None })
    }

    /// Remembers a context that is new, and makes it the current one; its name, if there is one to remember.
    pub(crate) fn remember_context(&self) -> Outcome<Option<&str>> {
        let (Some(name), Some(context)) = (&self.new_context, &self.context) else { return Ok(None) };
        let doing = || format!("write the context '{name}' into {}", self.base.display());
        let profile = self.profile().join("config");
        crate::commands::make_folder(&profile)?;
        if !profile.join("defaults.json").exists() {
            std::fs::write(profile.join("defaults.json"), "{}").or_failed(doing)?;
        }
        let file = self.base.join("contexts.json");
        let mut contexts = object(&file)?.unwrap_or_default();
        contexts.insert(name.clone(), json!({"profile": context.profile, "authority": context.authority}));
        let text = serde_json::to_string_pretty(&contexts).or_failed(doing)?;
        crate::commands::replace_file(&file, text.as_bytes())?;
        let current = json!({"context": name}).to_string();
        crate::commands::replace_file(&self.base.join("current-context.json"), current.as_bytes())?;
        Ok(Some(name))
    }

    /// The folder itself, whatever the context.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The folder of the current CA environment.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.context {
            Some(context) => self.base.join("authorities").join(&context.authority),
            None => self.base.clone(),
        }
    }

    /// The folder of the current profile.
    pub(crate) fn profile(&self) -> PathBuf {
        match &self.context {
            Some(context) => self.base.join("profiles").join(&context.profile),
            None => self.base.clone(),
        }
    }

    /// `config/ca.json`.
    pub(crate) fn ca_json(&self) -> PathBuf {
        self.path().join("config").join("ca.json")
    }

    /// `config/defaults.json`.
    pub(crate) fn defaults_json(&self) -> PathBuf {
        self.path().join("config").join("defaults.json")
    }

    /// `certs/root_ca.crt`.
    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.path().join("certs").join("root_ca.crt")
    }

    /// Values for flags that were not given: those of the CA environment, and over them those of the profile.
    pub(crate) fn defaults(&self) -> Outcome<Map<String, Value>> {
        let mut all = object(&self.defaults_json())?.unwrap_or_default();
        let profile = self.profile().join("config").join("defaults.json");
        if self.context.is_some() {
            all.extend(object(&profile)?.unwrap_or_default());
        }
        Ok(all)
    }
}

fn absolute(path: &Path) -> Outcome<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Failure::of(Exit::Usage, error).context(format!("find the folder {}", path.display())))
}

fn find_context(base: &Path, wanted: Option<&str>) -> Outcome<Option<Context>> {
    let name = match wanted {
        Some(name) => Some(name.to_owned()),
        None => object(&base.join("current-context.json"))?
            .and_then(|current| Some(current.get("context")?.as_str()?.to_owned()))
            .filter(|name| !name.is_empty()),
    };
    let Some(name) = name else { return Ok(None) };
    let contexts = object(&base.join("contexts.json"))?.unwrap_or_default();
    let part = |key: &str| Some(contexts.get(&name)?.get(key)?.as_str()?.to_owned());
    match (part("authority"), part("profile")) {
        (Some(authority), Some(profile)) if is_plain(&authority) && is_plain(&profile) => {
            Ok(Some(Context { authority, profile }))
        }
        (Some(_), Some(_)) => Err(Failure::usage(format!("context '{name}' names a folder outside of the home"))),
        _ => Err(Failure::usage(format!("context '{name}' not found in {}", base.join("contexts.json").display()))),
    }
}

/// A name that stays within its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains('/')
}

/// A JSON object in a file; nothing where there is no file.
fn object(path: &Path) -> Outcome<Option<Map<String, Value>>> {
    let too_large = path.metadata().is_ok_and(|meta| meta.len() > LIMIT);
    if too_large {
        return Err(Failure::usage(format!("{} is too large", path.display())));
    }
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Failure::of(Exit::Usage, error).context(format!("read {}", path.display()))),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Failure::of(Exit::Usage, error).context(format!("{} is not a JSON object", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("keywheel-home-{}-{name}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn environment(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
    }

    #[test]
    fn the_flag_comes_before_steppath_and_steppath_before_home() {
        let env = environment(&[("STEPPATH", "/nowhere/s"), ("HOME", "/nowhere/h")]);
        let flag = Home::find(Some(Path::new("/nowhere/f")), None, false, &env).unwrap();
        assert_eq!(flag.path(), Path::new("/nowhere/f"));
        assert_eq!(Home::find(None, None, false, &env).unwrap().path(), Path::new("/nowhere/s"));
        let env = environment(&[("HOME", "/nowhere/h")]);
        assert_eq!(Home::find(None, None, false, &env).unwrap().path(), Path::new("/nowhere/h/.step"));
    }

    #[test]
    fn the_current_context_chooses_authority_and_profile() {
        let base = fresh("context");
        std::fs::write(base.join("current-context.json"), r#"{"context":"b"}"#).unwrap();
        let contexts = r#"{"a":{"authority":"x","profile":"p"},"b":{"authority":"y","profile":"q"}}"#;
        std::fs::write(base.join("contexts.json"), contexts).unwrap();
        let current = Home::find(Some(&base), None, false, &|_| None).unwrap();
        assert_eq!(current.path(), base.join("authorities/y"));
        assert_eq!(current.profile(), base.join("profiles/q"));
        let wanted = Home::find(Some(&base), Some("a"), false, &|_| None).unwrap();
        assert_eq!(wanted.path(), base.join("authorities/x"));
        let failure = Home::find(Some(&base), Some("c"), false, &|_| None).unwrap_err();
        assert!(failure.message().starts_with("context 'c' not found"));
    }

    #[test]
    fn a_context_cannot_lead_out_of_the_home() {
        let base = fresh("escape");
        std::fs::write(base.join("contexts.json"), r#"{"a":{"authority":"..","profile":"p"}}"#).unwrap();
        assert!(Home::find(Some(&base), Some("a"), false, &|_| None).is_err());
    }

    #[test]
    fn a_broken_defaults_file_is_named() {
        let base = fresh("broken");
        std::fs::create_dir_all(base.join("config")).unwrap();
        std::fs::write(base.join("config/defaults.json"), "[]").unwrap();
        let failure = Home::find(Some(&base), None, false, &|_| None).unwrap().defaults().unwrap_err();
        assert!(failure.message().contains("defaults.json is not a JSON object"));
    }
}
