//! Passwords: from files, from a person, and new ones.

use std::io::Read;
use std::path::Path;

use keywheel_engine::client::error::ClientError;
use zeroize::Zeroizing;

use crate::failure::{Classed, Failure, Outcome};
use crate::prompt;

/// More than this is no password.
const LIMIT: u64 = 64 * 1024;

/// The password in a file, without the white space at its end. `-` and `/dev/stdin` are read as they come.
pub(crate) fn from_file(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    let doing = || format!("read the password file {}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
    };
    read.or_usage(doing)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::usage(format!("{} is too large for a password file", path.display())));
    }
    let kept = bytes.trim_ascii_end().len();
    bytes.truncate(kept);
    Ok(bytes)
}

/// The password in a file, where one was named.
pub(crate) fn from_optional_file(path: Option<&Path>) -> Outcome<Option<Zeroizing<Vec<u8>>>> {
    path.map(from_file).transpose()
}

/// Asks for the password of a key where an error says that one is missing; gives the error back where nobody can be asked or
/// nothing is.
pub(crate) fn answer(error: ClientError, password: &mut Option<Zeroizing<Vec<u8>>>) -> Outcome<()> {
    match error {
        ClientError::PasswordRequired { file } if prompt::somebody_is_there() => {
            let question = format!("Please enter the password of {}", file.display());
            *password = Some(prompt::password(&question, "--password-file", None)?);
            Ok(())
        }
        error => Err(error.into()),
    }
}

/// A new password of 32 letters and digits: about 190 bits.
pub(crate) fn random() -> Outcome<Zeroizing<String>> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = Zeroizing::new(String::with_capacity(32));
    while password.len() < 32 {
        let bytes: [u8; 64] = keywheel_signer::random::bytes().or_failed(|| "make a password".into())?;
        // Bytes from 248 up would make the first letters of the alphabet likelier than the others.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if let (Some(letter), true) = (ALPHABET.get(usize::from(byte % 62)), password.len() < 32) {
                password.push(char::from(*letter));
            }
        }
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_the_end_of_a_password_file_does_not_count() {
        let file = std::env::temp_dir().join(format!("keywheel-password-{}", std::process::id()));
        std::fs::write(&file, " open sesame \r\n\n").unwrap();
        assert_eq!(from_file(&file).unwrap().as_slice(), b" open sesame");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_missing_password_file_is_a_usage_error_that_names_it() {
        let failure = from_file(Path::new("/nowhere/password")).unwrap_err();
        assert_eq!(failure.exit(), crate::exit::Exit::Usage);
        assert!(failure.message().contains("/nowhere/password"));
    }
}
