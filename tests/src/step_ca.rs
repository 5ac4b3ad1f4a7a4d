//! A running real step-ca on a free port, made by the real `step ca init`, stopped with the value.

use crate::ca::{Background, PASSWORD, free_port};
use crate::peer;
use crate::place::Place;

/// The reference's CA: commands run in its place find it by the `defaults.json` that the reference wrote.
pub struct StepCa {
    /// Where it lives.
    pub place: Place,
    /// Its port.
    pub port: u16,
    /// The server.
    pub server: Background,
}

impl StepCa {
    /// Initialises it with its own defaults and starts it; `None` (said aloud) where the peer is not installed.
    pub fn start() -> Option<Self> {
        let (place, port) = Self::initialise()?;
        let mut command = place.command(peer::step_ca()?);
        command.args(["step/config/ca.json", "--password-file", "password"]);
        let mut server = Background::start(command);
        server.wait_for("Serving HTTPS");
        Some(Self { place, port, server })
    }

    /// Only the home that `step ca init` makes.
    pub fn initialise() -> Option<(Place, u16)> {
        Self::initialise_in(Place::new())
    }

    /// The same in a place that was prepared.
    pub fn initialise_in(place: Place) -> Option<(Place, u16)> {
        let step = peer::step()?;
        let port = free_port();
        place.write("password", PASSWORD);
        let address = format!("127.0.0.1:{port}");
        let mut words = vec!["ca", "init", "--name", "Test", "--dns", "localhost", "--address", &address];
        words.extend(["--provisioner", "admin", "--password-file", "password", "--deployment-type", "standalone"]);
        place.run(step, &words).ok();
        Some((place, port))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}
