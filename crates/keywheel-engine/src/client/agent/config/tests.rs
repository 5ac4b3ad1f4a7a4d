//! TOML that is understood, TOML that is refused with its line, and the reference page of all keys.

use super::*;

fn surroundings() -> Surroundings {
    Surroundings {
        ca_url: Some("https://ca.example.com".to_owned()),
        root: "/home/certs/root_ca.crt".into(),
        credentials: Some("/run/credentials".into()),
    }
}

fn parse(text: &str) -> Result<Content, ConfigError> {
    Content::parse(Path::new("/etc/agent.d/web.toml"), text, None, &surroundings())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const PAIR: &str = "[[certificate]]\nname = \"web\"\ncertificate = \"web.crt\"\nkey = \"/keys/web.key\"\n";

#[test]
fn an_entry_needs_little_and_its_paths_start_where_its_file_is() {
    let content = parse(PAIR).unwrap();
    let [entry] = content.entries.as_slice() else { panic!("{content:?}") };
    assert_eq!(entry.certificate, Path::new("/etc/agent.d/web.crt"));
    assert_eq!(entry.key, Path::new("/keys/web.key"));
    assert_eq!(entry.line, 1);
    assert_eq!(entry.profile.timing(), Timing::LastThird);
    assert_eq!(entry.profile.access().unwrap().url(), "https://ca.example.com");
}

#[test]
fn defaults_hold_where_an_entry_says_nothing_else() {
    let text = format!(
        "[defaults]\nexpires-in = \"8h\"\nexec = \"true\"\nkty = \"RSA\"\nsize = 3072\ncredential = \"keys\"\n{PAIR}\
         rekey-period = \"16h\"\nkty = \"EC\"\npassword-file = \"pw\"\n{}",
        PAIR.replace("web", "api")
    );
    let content = parse(&text).unwrap();
    let [web, api] = content.entries.as_slice() else { panic!("{content:?}") };
    assert_eq!(web.profile.timing(), Timing::Every(SignedDuration::from_hours(16)));
    assert_eq!((web.profile.kty.as_deref(), web.profile.size), (Some("EC"), None));
    assert_eq!(web.profile.password_file.as_deref(), Some(Path::new("/etc/agent.d/pw")));
    assert_eq!(web.profile.exec.as_deref(), Some("true"));
    assert_eq!(api.profile.timing(), Timing::BeforeExpiry(SignedDuration::from_hours(8)));
    assert_eq!((api.profile.kty.as_deref(), api.profile.size), (Some("RSA"), Some(3072)));
    assert_eq!(api.profile.password_file.as_deref(), Some(Path::new("/run/credentials/keys")));
}

#[test]
fn the_agent_table_sets_the_limits() {
    let content = parse("[agent]\nat-once = 3\nrekeys-per-second = 7\nrescan = \"2s\"\nsocket = \"a.sock\"\n").unwrap();
    let settings = content.settings.unwrap();
    assert_eq!((settings.at_once, settings.limits.at_once, settings.limits.per_second), (3, 8, 7));
    assert_eq!(settings.rescan, Duration::from_secs(2));
    assert_eq!(settings.socket.as_deref(), Some(Path::new("/etc/agent.d/a.sock")));
}

#[test]
fn one_file_for_both_is_said_so() {
    let content =
        parse("[defaults]\nlayout = \"generations\"\n[[certificate]]\nname = \"a\"\ncombined = \"a.pem\"\n").unwrap();
    let [entry] = content.entries.as_slice() else { panic!("{content:?}") };
    assert_eq!(entry.certificate, entry.key);
    assert_eq!(entry.profile.layout(), None);
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    for (more, line, message) in [
        ("colour = \"red\"\n", 5, "unknown field `colour`"),
        ("expires-in = \"8x\"\n", 5, "8x"),
        ("expires-in = \"0s\"\n", 5, "'0s' is not longer than no time"),
        ("expires-in = 8\n", 5, "invalid type: integer `8`, expected a string"),
        ("exec = \"\"\n", 5, "it is empty"),
        ("layout = \"round\"\n", 5, "unknown variant `round`, expected `flat` or `generations`"),
        ("name = \"again\"\n", 5, "duplicate key"),
        (
            "expires-in = \"8h\"\nrekey-period = \"8h\"\n",
            1,
            "certificate 'web': 'expires-in' and 'rekey-period' exclude",
        ),
        ("password-file = \"a\"\ncredential = \"b\"\n", 1, "'password-file' and 'credential' exclude"),
        ("credential = \"../b\"\n", 1, "is no name of a credential"),
        ("combined = \"a.pem\"\n", 1, "name 'certificate' and 'key', or 'combined'"),
        ("kind = \"ssh\"\n", 1, "kind = \"ssh\" is not there yet"),
        ("ca-url = \"http://ca\"\n", 1, "invalid value 'http://ca' for 'ca-url'; must have https scheme"),
        ("kty = \"FOO\"\n", 1, "invalid value 'FOO' for 'kty'; options are RSA, EC, OKP"),
        ("exec = \"'\"\n", 1, "for 'exec': it is empty or a quote is not closed"),
        ("signal = 0\n", 1, "invalid value '0' for 'signal'"),
        ("verify = [\"gopher://x\"]\n", 1, "verify = \"gopher://x\""),
        ("rollback = true\n", 1, "'rollback' needs something that can fail"),
    ] {
        let told = refused(&format!("{PAIR}{more}"));
        let start = format!("/etc/agent.d/web.toml:{line}: ");
        assert!(told.starts_with(&start) && told.contains(message), "{more}: {told}");
    }
    for (text, message) in [
        ("[[certificate]]\ncertificate = \"a\"\nkey = \"b\"\n", "web.toml:1: the entry has no 'name'"),
        ("[[certificate]]\nname = \"a\"\ncertificate = \"b\"\nkey = \"b\"\n", "are one file"),
        ("\n[defaults]\nname = \"a\"\n", "web.toml:2: 'name', 'certificate', 'key' and 'combined' belong"),
        ("[agent]\nat-once = 0\n", "web.toml:2: it must be at least 1"),
        ("[agent", "web.toml:1: "),
        ("[certificate]\nname = \"a\"\n", "web.toml:1: "),
    ] {
        let told = refused(text);
        assert!(told.contains(message), "{text}: {told}");
    }
}

#[test]
fn a_credential_needs_a_service_manager_that_brings_it() {
    let alone = Surroundings { credentials: None, ..surroundings() };
    let text = format!("{PAIR}credential = \"keys\"\n");
    let told = Content::parse(Path::new("a.toml"), &text, None, &alone).unwrap_err();
    assert!(told.message.contains("needs $CREDENTIALS_DIRECTORY"), "{told}");
}

/// The keys that a table knows, as its refusal of another one lists them.
fn keys_of(table: &str) -> Vec<String> {
    let told = refused(&format!("{table}\nno-such-key = 1\n"));
    let (_, list) = told.split_once("expected one of ").expect("the refusal lists the keys");
    list.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_reference_page_has_a_row_for_every_key_and_no_other() {
    let page = include_str!("../../../../../../docs/reference/agent-toml.md");
    for table in ["[agent]", "[[certificate]]"] {
        let title = format!("## `{table}`\n");
        let (_, part) = page.split_once(&title).unwrap_or_else(|| panic!("the page has no part {title}"));
        let part = part.split("\n## ").next().unwrap_or_default();
        let rows: Vec<String> = part
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|rest| rest.split('`').next().map(str::to_owned))
            .collect();
        let mut keys = keys_of(table);
        let mut told = rows.clone();
        keys.sort();
        told.sort();
        assert_eq!(told, keys, "{table}");
    }
}
