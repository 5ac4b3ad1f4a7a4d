//! nginx with a certificate of ours, in the foreground, its files in the test's own folder.

use keywheel_tests::ca::{Background, free_port};
use keywheel_tests::place::Place;

use crate::load::BODY;
use crate::rotation::{Service, wait_for_port};

/// A running nginx.
pub struct Nginx {
    server: Background,
    port: u16,
    reload: String,
}

impl Nginx {
    /// Starts it; it has answered once when this returns.
    pub fn start(place: &Place, certificate: &str, key: &str) -> Self {
        let port = free_port();
        let folder = place.path().display();
        let configuration = format!(
            "daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx.body;
    proxy_temp_path {folder}/nginx.proxy;
    fastcgi_temp_path {folder}/nginx.fastcgi;
    uwsgi_temp_path {folder}/nginx.uwsgi;
    scgi_temp_path {folder}/nginx.scgi;
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024;
        ssl_certificate {folder}/{certificate};
        ssl_certificate_key {folder}/{key};
        location / {{ return 200 \"{}\"; }}
    }}
}}
",
            BODY.replace('\n', "\\n")
        );
        place.write("nginx.conf", configuration);
        let mut command = place.command("nginx");
        command.args(["-p", &folder.to_string(), "-c", "nginx.conf", "-e", "nginx.log"]);
        let server = Background::start(command);
        wait_for_port(port);
        Self { server, port, reload: format!("nginx -p {folder} -c nginx.conf -e nginx.log -s reload") }
    }
}

impl Service for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn reload(&self) -> Vec<String> {
        vec!["--exec".into(), self.reload.clone()]
    }

    fn id(&self) -> u32 {
        self.server.id()
    }
}
