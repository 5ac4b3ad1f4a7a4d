//! The dialogues before TLS: what each protocol says until the handshake may begin.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No server that means well sends longer lines.
const MAX_LINE: usize = 8 * 1024;

/// No greeting and no list of capabilities has more lines.
const MAX_LINES: usize = 200;

/// No LDAP answer, database greeting or XMPP feature list is longer.
const MAX_ANSWER: usize = 64 * 1024;

/// So much of an answer is repeated in a message.
const MAX_QUOTED: usize = 160;

/// What is spoken before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Tls,
    Smtp,
    Lmtp,
    Imap,
    Pop3,
    Sieve,
    Ftp,
    Nntp,
    Ldap,
    Postgres,
    Mysql,
    XmppClient,
    XmppServer,
}

/// Why a dialogue did not lead to TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartTlsError {
    /// The connection broke.
    #[error("the connection broke before TLS was begun")]
    Connection(#[source] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection before TLS was begun")]
    Closed,
    /// The server has no TLS.
    #[error("the server does not offer TLS")]
    NotOffered,
    /// The server said no, or something that is not the protocol.
    #[error("the server answered {0:?}")]
    Answer(String),
    /// The server talks without end.
    #[error("the server said more than this protocol says before TLS")]
    TooMuch,
    /// There was more after the answer: it would be taken for something that was protected.
    #[error("the server sent something unprotected after it had agreed to begin TLS")]
    Trailing,
}

/// Speaks until the TLS handshake may begin. `own` is this end's address, `name` the one that the server is asked by.
pub(super) async fn begin<S>(kind: Kind, stream: S, own: IpAddr, name: &str) -> Result<S, StartTlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut plain = Plain { stream, buffer: Vec::new() };
    match kind {
        Kind::Tls => {}
        Kind::Smtp => mail(&mut plain, "EHLO", own).await?,
        Kind::Lmtp => mail(&mut plain, "LHLO", own).await?,
        Kind::Imap => imap(&mut plain).await?,
        Kind::Pop3 => pop3(&mut plain).await?,
        Kind::Sieve => sieve(&mut plain).await?,
        Kind::Ftp => ftp(&mut plain).await?,
        Kind::Nntp => nntp(&mut plain).await?,
        Kind::Ldap => ldap(&mut plain).await?,
        Kind::Postgres => postgres(&mut plain).await?,
        Kind::Mysql => mysql(&mut plain).await?,
        Kind::XmppClient => xmpp(&mut plain, "jabber:client", name).await?,
        Kind::XmppServer => xmpp(&mut plain, "jabber:server", name).await?,
    }
    if plain.buffer.is_empty() { Ok(plain.stream) } else { Err(StartTlsError::Trailing) }
}

/// A connection before TLS, and what was read of it and not yet used.
struct Plain<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// RFC 3207, and the same for RFC 2033.
async fn mail<S: AsyncRead + AsyncWrite + Unpin>(
    plain: &mut Plain<S>,
    hello: &str,
    own: IpAddr,
) -> Result<(), StartTlsError> {
    plain.reply("220").await?;
    let literal = match own {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    plain.send(format!("{hello} {literal}\r\n").as_bytes()).await?;
    let offers = plain.reply("250").await?;
    if !offers.iter().any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"))) {
        return Err(StartTlsError::NotOffered);
    }
    plain.send(b"STARTTLS\r\n").await?;
    plain.reply("220").await.map(drop)
}

/// RFC 3501, section 6.2.1.
async fn imap<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    let greeting = plain.line().await?;
    if !starts(&greeting, "* OK") {
        return Err(StartTlsError::Answer(quoted(&greeting)));
    }
    plain.send(b"a STARTTLS\r\n").await?;
    for _ in 0..MAX_LINES {
        let line = plain.line().await?;
        if starts(&line, "a OK") {
            return Ok(());
        }
        // Untagged lines may stand before the answer.
        if !line.starts_with("* ") {
            return Err(StartTlsError::Answer(quoted(&line)));
        }
    }
    Err(StartTlsError::TooMuch)
}

/// RFC 2595, section 4.
async fn pop3<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    for command in ["", "STLS\r\n"] {
        plain.send(command.as_bytes()).await?;
        let line = plain.line().await?;
        if !starts(&line, "+OK") {
            return Err(StartTlsError::Answer(quoted(&line)));
        }
    }
    Ok(())
}

/// RFC 5804, section 2.2: the greeting is the list of capabilities and ends with OK.
async fn sieve<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    let mut offered = false;
    for _ in 0..MAX_LINES {
        let line = plain.line().await?;
        if starts(&line, "OK") {
            if !offered {
                return Err(StartTlsError::NotOffered);
            }
            plain.send(b"STARTTLS\r\n").await?;
            let answer = plain.line().await?;
            return if starts(&answer, "OK") { Ok(()) } else { Err(StartTlsError::Answer(quoted(&answer))) };
        }
        if !line.starts_with('"') {
            return Err(StartTlsError::Answer(quoted(&line)));
        }
        offered |= starts(&line, "\"STARTTLS\"");
    }
    Err(StartTlsError::TooMuch)
}

/// RFC 4217, section 4.
async fn ftp<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    plain.reply("220").await?;
    plain.send(b"AUTH TLS\r\n").await?;
    plain.reply("234").await.map(drop)
}

/// RFC 4642, section 2.2.
async fn nntp<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    // 200 is for who may post, 201 for who may only read.
    plain.reply("20").await?;
    plain.send(b"STARTTLS\r\n").await?;
    plain.reply("382").await.map(drop)
}

/// RFC 4511, section 4.14: an extended request with the number 1, and its answer.
async fn ldap<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    plain.send(REQUEST).await?;
    let message = plain.ber(0x30).await?;
    let garbled = || StartTlsError::Answer("something that is not LDAP".to_owned());
    let rest = message.strip_prefix(b"\x02\x01\x01").ok_or_else(garbled)?;
    let (response, _) = ber_content(rest, 0x78).ok_or_else(garbled)?;
    match ber_content(response, 0x0a).ok_or_else(garbled)? {
        ([0], _) => Ok(()),
        ([code], rest) => {
            // The distinguished name, then a text for people.
            let text =
                ber_content(rest, 0x04).and_then(|(_, rest)| ber_content(rest, 0x04)).map_or(&[][..], |text| text.0);
            Err(StartTlsError::Answer(quoted(&format!("result {code} {}", String::from_utf8_lossy(text)))))
        }
        _ => Err(garbled()),
    }
}

/// PostgreSQL, "SSL Session Encryption": one number, one letter.
async fn postgres<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    plain.send(&SSL_REQUEST).await?;
    match plain.take(1).await?.as_slice() {
        b"S" => Ok(()),
        b"N" => Err(StartTlsError::NotOffered),
        _ => Err(StartTlsError::Answer("an error message".to_owned())),
    }
}

/// MySQL and MariaDB, "SSLRequest": the answer to the greeting says that TLS comes next.
async fn mysql<S: AsyncRead + AsyncWrite + Unpin>(plain: &mut Plain<S>) -> Result<(), StartTlsError> {
    const CLIENT_SSL: u16 = 0x0800;
    /// Long password, protocol 4.1, TLS, secure connection; packets up to 16 MiB; UTF-8; 23 octets of nothing.
    const SSL_REQUEST: [u8; 36] = {
        let mut packet = [0; 36];
        packet[0] = 32;
        packet[3] = 1;
        packet[4] = 0x01;
        packet[5] = 0x8a;
        packet[11] = 0x01;
        packet[12] = 33;
        packet
    };
    let header = plain.take(4).await?;
    let length = header.iter().take(3).rev().fold(0, |length, octet| length << 8 | usize::from(*octet));
    if length > MAX_ANSWER {
        return Err(StartTlsError::TooMuch);
    }
    let greeting = plain.take(length).await?;
    let garbled = || StartTlsError::Answer("something that is not a MySQL greeting".to_owned());
    match greeting.split_first() {
        Some((10, rest)) => {
            let end = rest.iter().position(|octet| *octet == 0).ok_or_else(garbled)?;
            // After the version: the thread, half of a nonce, an empty octet, and then what the server can do.
            let able = rest.get(end + 14..end + 16).ok_or_else(garbled)?;
            if u16::from_le_bytes([able[0], able[1]]) & CLIENT_SSL == 0 {
                return Err(StartTlsError::NotOffered);
            }
        }
        // An error instead of a greeting: a code of two octets, then words.
        Some((0xff, rest)) => {
            return Err(StartTlsError::Answer(quoted(&String::from_utf8_lossy(rest.get(2..).unwrap_or_default()))));
        }
        _ => return Err(garbled()),
    }
    plain.send(&SSL_REQUEST).await
}

/// RFC 6120, section 5.
async fn xmpp<S: AsyncRead + AsyncWrite + Unpin>(
    plain: &mut Plain<S>,
    space: &str,
    name: &str,
) -> Result<(), StartTlsError> {
    // The name is that of a host, so that it has no character that XML would take for its own.
    let open = format!(
        "<?xml version='1.0'?><stream:stream to='{name}' version='1.0' xmlns='{space}' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    plain.send(open.as_bytes()).await?;
    let features = plain.until(&["</stream:features>", "<stream:features/>", "</stream:stream>"]).await?;
    if features.contains("<stream:error") {
        return Err(StartTlsError::Answer(quoted(&features)));
    }
    if !features.contains("<starttls") {
        return Err(StartTlsError::NotOffered);
    }
    plain.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    let answer = plain.until(&[">"]).await?;
    if answer.trim_start().starts_with("<proceed") { Ok(()) } else { Err(StartTlsError::Answer(quoted(&answer))) }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Plain<S> {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), StartTlsError> {
        self.stream.write_all(bytes).await.map_err(StartTlsError::Connection)?;
        self.stream.flush().await.map_err(StartTlsError::Connection)
    }

    /// Reads more, whatever comes.
    async fn more(&mut self) -> Result<(), StartTlsError> {
        let mut chunk = [0; 2048];
        match self.stream.read(&mut chunk).await.map_err(StartTlsError::Connection)? {
            0 => Err(StartTlsError::Closed),
            count => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>, StartTlsError> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// One line without its end.
    async fn line(&mut self) -> Result<String, StartTlsError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > MAX_LINE {
                return Err(StartTlsError::TooMuch);
            }
            self.more().await?;
        }
    }

    /// The lines of a reply that begins with this code, as SMTP, FTP and NNTP have them: `250-` goes on, `250 ` ends.
    async fn reply(&mut self, code: &str) -> Result<Vec<String>, StartTlsError> {
        let mut lines: Vec<String> = Vec::new();
        while lines.len() < MAX_LINES {
            let line = self.line().await?;
            let first = lines.first().unwrap_or(&line);
            if !first.starts_with(code) {
                return Err(StartTlsError::Answer(quoted(first)));
            }
            // FTP lets lines between the first and the last look like anything.
            let goes_on = match lines.first() {
                Some(first) => first.get(..3) != line.get(..3) || line.get(3..4) == Some("-"),
                None => line.get(3..4) == Some("-"),
            };
            lines.push(line);
            if !goes_on {
                return Ok(lines);
            }
        }
        Err(StartTlsError::TooMuch)
    }

    /// All up to the first of these ends.
    async fn until(&mut self, ends: &[&str]) -> Result<String, StartTlsError> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some(end) = ends.iter().filter_map(|end| text.find(end).map(|at| at + end.len())).min() {
                let (used, rest) = text.split_at(end);
                self.buffer = rest.as_bytes().to_vec();
                return Ok(used.to_owned());
            }
            if self.buffer.len() > MAX_ANSWER {
                return Err(StartTlsError::TooMuch);
            }
            self.more().await?;
        }
    }

    /// The content of one element in BER with this tag.
    async fn ber(&mut self, tag: u8) -> Result<Vec<u8>, StartTlsError> {
        let header = self.take(2).await?;
        if header[0] != tag {
            return Err(StartTlsError::Answer("something that is not LDAP".to_owned()));
        }
        let length = match header[1] {
            short @ 0..=0x7f => usize::from(short),
            long @ 0x81..=0x84 => {
                let octets = self.take(usize::from(long & 0x7f)).await?;
                octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
            }
            _ => return Err(StartTlsError::TooMuch),
        };
        if length > MAX_ANSWER {
            return Err(StartTlsError::TooMuch);
        }
        self.take(length).await
    }
}

/// The content of the first element in BER, if it has this tag, and what comes after it.
fn ber_content(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    (*found == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// Whether a line begins with these letters of either case, and then ends or goes on after a blank.
fn starts(line: &str, words: &str) -> bool {
    line.get(..words.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(words))
        && line.get(words.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '[', '(']))
}

/// The beginning of an answer, for a message.
fn quoted(answer: &str) -> String {
    answer.chars().filter(|c| !c.is_control()).take(MAX_QUOTED).collect()
}
