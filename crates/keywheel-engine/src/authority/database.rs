//! Which database an authority uses, and when it must not start with an empty one.

use std::path::Path;

use keywheel_store::{OpenMode, Store};

use super::settings::Settings;
use super::{AuthorityOptions, OpenError};

/// Opens the database that the caller names, else that of `ca.json`, else `db/keywheel.db` beside the `config` folder.
pub(super) async fn open(options: &AuthorityOptions, settings: &Settings) -> Result<Store, OpenError> {
    let url = match (&options.database, settings.database()) {
        (Some(url), _) => url.clone(),
        (None, Some(url)) => url.to_owned(),
        (None, None) => default_url(&options.config_file),
    };
    // Tokens that were used and certificates that were revoked stand in the other database: an empty one would forget them.
    if let Some(foreign) = &settings.config.database
        && !options.fresh_database
        && !exists(&url).await
    {
        return Err(OpenError::ForeignDatabase { kind: foreign.kind.clone() });
    }
    if let Some(path) = url.strip_prefix("sqlite:")
        && let Some(folder) = Path::new(path).parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .recursive(true)
            .create(folder);
        made.map_err(|source| OpenError::Store(Box::new(source)))?;
    }
    Store::open(&url, OpenMode::Create).await.map_err(|error| OpenError::Store(Box::new(error)))
}

/// The database of a home whose `ca.json` names none.
fn default_url(config_file: &Path) -> String {
    let config = config_file.parent().unwrap_or(Path::new("."));
    let home = if config.file_name().is_some_and(|name| name == "config") {
        config.parent().unwrap_or(config)
    } else {
        config
    };
    format!("sqlite:{}", home.join("db").join("keywheel.db").display())
}

/// Whether there is a database of our own already.
async fn exists(url: &str) -> bool {
    match url.strip_prefix("sqlite:") {
        Some(path) => Path::new(path).exists(),
        None => match Store::open(url, OpenMode::Current).await {
            Ok(_) => true,
            // Whoever opens it next says better what is wrong than that it is not there.
            Err(error) => error.is_retryable(),
        },
    }
}
