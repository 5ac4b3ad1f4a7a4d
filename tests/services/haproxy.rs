//! HAProxy with a certificate of ours: a master in the foreground, which hands its sockets on when it reloads.

use keywheel_tests::ca::{Background, free_port};
use keywheel_tests::place::Place;

use crate::load::BODY;
use crate::rotation::{Service, wait_for_port};

/// `SIGUSR2`: the master starts a new worker with the files as they are then.
const RELOAD: &str = "12";

/// A running HAProxy.
pub struct Haproxy {
    server: Background,
    port: u16,
}

impl Haproxy {
    /// Starts it on one file with key and certificate, or on a certificate whose key lies in `<certificate>.key`.
    pub fn start(place: &Place, certificate: &str) -> Self {
        let port = free_port();
        let folder = place.path().display();
        let configuration = format!(
            "global
    stats socket {folder}/haproxy.sock mode 600 level admin expose-fd listeners
    nbthread 2
    maxconn 500
defaults
    mode http
    timeout client 20s
    timeout server 20s
    timeout connect 20s
frontend tls
    bind 127.0.0.1:{port} ssl crt {folder}/{certificate}
    http-request return status 200 content-type text/plain string \"{}\"
",
            BODY.replace('\n', "\\n")
        );
        place.write("haproxy.cfg", configuration);
        let mut command = place.command("haproxy");
        command.args(["-W", "-db", "-f", "haproxy.cfg"]);
        let server = Background::start(command);
        wait_for_port(port);
        Self { server, port }
    }
}

impl Service for Haproxy {
    fn name(&self) -> &'static str {
        "HAProxy"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn reload(&self) -> Vec<String> {
        vec!["--pid".into(), self.id().to_string(), "--signal".into(), RELOAD.into()]
    }

    fn id(&self) -> u32 {
        self.server.id()
    }
}
