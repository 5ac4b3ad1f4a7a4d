//! Errors of the client in the words and exit codes of the program.

use keywheel_engine::client::error::{ClientError, Fault};

use crate::exit::Exit;
use crate::failure::Failure;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.fault() {
            Fault::Failed => Exit::Failed,
            Fault::Usage => Exit::Usage,
            Fault::Refused => Exit::Refused,
            Fault::Unreachable => Exit::TryAgain,
            Fault::NotTaken => Exit::Hook,
        };
        let hint = match &error {
            ClientError::Refused { hint, .. } => hint.clone(),
            ClientError::Provisioner { names, .. } if names.len() > 1 => {
                Some(format!("their names are {}", names.join(", ")))
            }
            _ => None,
        };
        let failure = Self::of(exit, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
