//! A network that loses answers: the CA gave them, and the client never gets them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// More than handshake and session tickets take, less than an answer with a certificate.
const AN_ANSWER: usize = 3000;

/// More than a change-cipher-spec record, less than a request.
const MORE_THAN_A_HANDSHAKE_WORD: usize = 64;

/// A way to the CA on which the first answers get lost, after the CA gave them.
pub struct Lossy {
    /// The address of the way.
    pub url: String,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    /// A way to a port of this machine that loses so many answers.
    pub fn to(port: u16, losses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("it is bound").port());
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = lost.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                if counter.load(Ordering::SeqCst) < losses {
                    lose_the_answer(client, server, counter.clone());
                } else {
                    pass(client, server);
                }
            }
        });
        Self { url, lost }
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

/// Lets the handshake and the request through, waits for the answer and cuts the connection instead of passing it on.
fn lose_the_answer(client: TcpStream, server: TcpStream, lost: Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicBool::new(false));
    let server_spoke = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) = (copy(&client), copy(&server));
    let (asking, spoke) = (asked.clone(), server_spoke.clone());
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = from_client.read(&mut buffer) {
            if spoke.load(Ordering::SeqCst) && length > MORE_THAN_A_HANDSHAKE_WORD {
                asking.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let (mut buffer, mut withheld) = ([0; 65536], 0);
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if asked.load(Ordering::SeqCst) {
                withheld += length;
                if withheld >= AN_ANSWER {
                    lost.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            } else {
                server_spoke.store(true, Ordering::SeqCst);
                if to_client.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}

fn pass(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [(copy(&client), copy(&server)), (server, client)] {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket can be shared")
}
