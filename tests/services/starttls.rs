//! `--verify` asks real services by every protocol that has one in Debian: each is started with our certificate, told to read the
//! next one, and must show it after STARTTLS.
//!
//! vsftpd, slapd and MariaDB read their certificate when they start: they must be found to show the old one. NNTP has no service
//! here.

use std::fmt::Write as _;
use std::process::Command;

use keywheel_tests::ca::{Background, free_port};
use keywheel_tests::place::Place;

use crate::load::{NAME, fingerprint};
use crate::rotation::{ca_with, wait_for_port};

const PAIR: [&str; 2] = ["svc.crt", "svc.key"];

/// Starts a service that listens on these ports.
fn start(mut command: Command, ports: &[u16]) -> Background {
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let service = Background::start(command);
    ports.iter().for_each(|port| wait_for_port(*port));
    service
}

/// What the machine forces: who is not root cannot start what changes its user.
fn root_is_missing(service: &str) -> bool {
    let missing = !is_root();
    if missing {
        println!("SKIPPED: {service} starts as root only, and this is another user");
    }
    missing
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// Rekeys with a proof at each of these endpoints, and lets `flags` tell the service.
#[track_caller]
fn proved(place: &Place, endpoints: &[(&str, u16)], flags: &[&str]) {
    let endpoints: Vec<String> = endpoints.iter().map(|(kind, port)| endpoint(kind, *port)).collect();
    let mut words = vec!["ca", "rekey", "--force"];
    words.extend(endpoints.iter().flat_map(|endpoint| ["--verify", endpoint]));
    let old = fingerprint(place, PAIR[0]);
    place.keywheel(&[&words[..], flags, &PAIR].concat()).ok();
    assert_ne!(fingerprint(place, PAIR[0]), old);
}

/// Rekeys without telling the service: it is found to show the old certificate.
#[track_caller]
fn refuted(place: &Place, kind: &str, port: u16) {
    let (old, endpoint) = (fingerprint(place, PAIR[0]), endpoint(kind, port));
    let words = ["ca", "rekey", "--force", "--rollback", "--verify", &endpoint, "--verify-timeout", "1s"];
    place.keywheel(&[&words[..], &PAIR].concat()).fails(7, &old.to_string());
}

fn endpoint(kind: &str, port: u16) -> String {
    format!("{kind}://127.0.0.1:{port}?servername={NAME}")
}

#[test]
fn dovecot_shows_it_for_imap_pop3_lmtp_and_sieve() {
    if root_is_missing("Dovecot") {
        return;
    }
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let folder = place.path().display();
    let mut configuration = format!(
        "base_dir = {folder}/dovecot
state_dir = {folder}/dovecot-state
log_path = /dev/stderr
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/svc.crt
ssl_key = <{folder}/svc.key
mail_location = maildir:{folder}/mail
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
"
    );
    let services = [("imap", "imap-login"), ("pop3", "pop3-login"), ("lmtp", "lmtp"), ("sieve", "managesieve-login")];
    let endpoints = services.map(|(kind, service)| {
        let port = free_port();
        let without_tls = format!("  inet_listener {kind}s {{\n    port = 0\n  }}\n");
        let other = if matches!(kind, "imap" | "pop3") { without_tls.as_str() } else { "" };
        let _ = write!(
            configuration,
            "service {service} {{\n  inet_listener {kind} {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n{other}}}\n"
        );
        (kind, port)
    });
    place.write("dovecot.conf", configuration);
    let mut command = place.command("dovecot");
    command.args(["-F", "-c", "dovecot.conf"]);
    let service = start(command, &endpoints.map(|(_, port)| port));
    proved(place, &endpoints, &["--pid", &service.id().to_string()]);
}

#[test]
fn postfix_shows_it_for_smtp() {
    if root_is_missing("Postfix") {
        return;
    }
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, port) = (place.path().display(), free_port());
    place.write(
        "postfix/main.cf",
        format!(
            "compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/postfix-data
maillog_file = /dev/stdout
inet_interfaces = 127.0.0.1
myhostname = {NAME}
mydestination =
alias_maps =
smtpd_tls_cert_file = {folder}/svc.crt
smtpd_tls_key_file = {folder}/svc.key
smtpd_tls_security_level = may
"
        ),
    );
    place.write(
        "postfix/master.cf",
        format!(
            "127.0.0.1:{port} inet n - n - - smtpd
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
"
        ),
    );
    // Its processes are other users, and must come as far as their own folders.
    place.run("mkdir", &["spool", "postfix-data"]).ok();
    place.run("chown", &["postfix", "postfix-data"]).ok();
    place.run("chmod", &["711", "."]).ok();
    place.run("postfix", &["-c", &format!("{folder}/postfix"), "check"]).ok();
    // Itself, as `postfix start-fg` leaves it behind when it is ended.
    let mut command = place.command("/usr/lib/postfix/sbin/master");
    command.args(["-s", "-c", &format!("{folder}/postfix")]);
    let _service = start(command, &[port]);
    proved(place, &[("smtp", port)], &["--exec", &format!("postfix -c {folder}/postfix reload")]);
}

#[test]
fn vsftpd_shows_the_certificate_that_it_started_with() {
    if root_is_missing("vsftpd") {
        return;
    }
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, port) = (place.path().display(), free_port());
    let configuration = format!(
        "listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
ssl_enable=YES
allow_anon_ssl=YES
anonymous_enable=YES
seccomp_sandbox=NO
rsa_cert_file={folder}/svc.crt
rsa_private_key_file={folder}/svc.key
secure_chroot_dir={folder}/empty
"
    );
    place.write("vsftpd.conf", configuration);
    place.run("mkdir", &["empty"]).ok();
    let mut command = place.command("vsftpd");
    command.arg(place.file("vsftpd.conf"));
    let _service = start(command, &[port]);
    refuted(place, "ftp", port);
}

#[test]
fn postgresql_shows_it_and_may_read_the_new_key() {
    if root_is_missing("PostgreSQL as another user") {
        return;
    }
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, port) = (place.path().display(), free_port());
    let programs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let programs = programs.flatten().map(|version| version.path().join("bin")).max().expect("in some version");
    let nobody = |program: &str| {
        let mut command = place.command("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(programs.join(program));
        command
    };
    // The key is the server's own, and stays so.
    place.run("mkdir", &["database"]).ok();
    place.run("chown", &["nobody:nogroup", "database", PAIR[0], PAIR[1]]).ok();
    place.run("chmod", &["711", "."]).ok();
    let made = nobody("initdb").args(["-D", "database", "-A", "trust", "-N"]).output().expect("initdb can be started");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = nobody("postgres");
    command.args(["-D", "database", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
    command.args(["-c", &format!("unix_socket_directories={folder}/database")]);
    command.args(["-c", &format!("ssl_cert_file={folder}/svc.crt"), "-c", &format!("ssl_key_file={folder}/svc.key")]);
    let service = start(command, &[port]);
    proved(place, &[("postgres", port)], &["--pid", &service.id().to_string()]);
}

#[test]
fn prosody_shows_it_for_both_kinds_of_xmpp() {
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, clients, servers) = (place.path().display(), free_port(), free_port());
    let configuration = format!(
        "daemonize = false
run_as_root = true
pidfile = \"{folder}/prosody.pid\"
data_path = \"{folder}/prosody\"
certificates = \"{folder}\"
interfaces = {{ \"127.0.0.1\" }}
c2s_ports = {{ {clients} }}
s2s_ports = {{ {servers} }}
modules_enabled = {{ \"posix\"; \"tls\" }}
log = {{ info = \"*console\" }}
VirtualHost \"{NAME}\"
  ssl = {{ certificate = \"{folder}/svc.crt\"; key = \"{folder}/svc.key\" }}
"
    );
    place.write("prosody.cfg.lua", configuration);
    place.run("mkdir", &["prosody"]).ok();
    let mut command = place.command("prosody");
    command.arg("--config").arg(place.file("prosody.cfg.lua")).arg("-F");
    let service = start(command, &[clients, servers]);
    proved(place, &[("xmpp", clients), ("xmpp-server", servers)], &["--pid", &service.id().to_string()]);
}

#[test]
fn slapd_shows_the_certificate_that_it_started_with() {
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, port) = (place.path().display(), free_port());
    let configuration = format!(
        "include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
TLSCertificateFile {folder}/svc.crt
TLSCertificateKeyFile {folder}/svc.key
database ldif
directory {folder}/ldap
suffix \"dc=example\"
"
    );
    place.write("slapd.conf", configuration);
    place.run("mkdir", &["ldap"]).ok();
    let mut command = place.command("slapd");
    command.args(["-d", "0", "-f", "slapd.conf", "-h", &format!("ldap://127.0.0.1:{port}/")]);
    let _service = start(command, &[port]);
    refuted(place, "ldap", port);
}

#[test]
fn mariadb_shows_the_certificate_that_it_started_with() {
    let ca = ca_with(PAIR[0], PAIR[1]);
    let place = &ca.place;
    let (folder, port) = (place.path().display(), free_port());
    place.run("mkdir", &["mariadb"]).ok();
    let mut command = place.command("mariadbd");
    command.args(["--no-defaults", "--skip-grant-tables", "--bind-address=127.0.0.1", &format!("--port={port}")]);
    for (flag, file) in [
        ("datadir", "mariadb"),
        ("socket", "mariadb.sock"),
        ("pid-file", "mariadb.pid"),
        ("ssl-cert", PAIR[0]),
        ("ssl-key", PAIR[1]),
    ] {
        command.arg(format!("--{flag}={folder}/{file}"));
    }
    if is_root() {
        command.arg("--user=root");
    }
    let _service = start(command, &[port]);
    refuted(place, "mysql", port);
}
