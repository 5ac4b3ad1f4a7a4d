//! Bytes that are no TLS, no HTTP, or too much of either.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Case, Judge};

#[test]
fn what_is_too_large_is_refused_and_the_server_goes_on() {
    let mut judge = Judge::new();
    for path in ["/sign", "/revoke"] {
        judge.ask(&Case::post(path, "ten megabytes", vec![b'a'; 10 << 20], 413, ""));
    }
    let headers = vec![format!("X-Long: {}", "a".repeat(1 << 20))];
    let (status, _) = judge.answer(&Case { headers, ..Case::get("/health", 0, "") }, "");
    assert!(matches!(status, 0 | 400 | 431), "a megabyte of headers was answered with {status}");
    let headers = (0..5000).map(|number| format!("X-{number}: a")).collect();
    let (status, _) = judge.answer(&Case { headers, ..Case::get("/health", 0, "") }, "");
    assert!(matches!(status, 0 | 400 | 431), "five thousand headers were answered with {status}");
    judge.judge(4);
}

#[test]
fn what_is_no_tls_is_closed_and_the_server_goes_on() {
    let judge = Judge::new();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 1000],
        &[0x16, 3, 1, 255, 255],
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-x\r\n",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", judge.ca.port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        stream.write_all(bytes).expect("it can be sent");
        let mut answer = Vec::new();
        // An alert and the end, or a reset; what counts is that the connection does not stay open for ever.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:?} was not answered"),
        }
    }
    judge.judge(0);
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let judge = Judge::new();
    let silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(("127.0.0.1", judge.ca.port)).expect("the server listens")).collect();
    assert_eq!(judge.answer(&Case::get("/health", 200, ""), "").0, 200);
    drop(silent);
    judge.judge(0);
}
