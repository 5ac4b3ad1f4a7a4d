//! The one table of exit codes.

use std::process::ExitCode;

/// What the exit code of the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or there was nothing to do.
    Done,
    /// Failed.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// A CA, a policy or a permission says no.
    Refused,
    /// The network or the other side is not there or busy: try again.
    TryAgain,
    /// The hook or the proof failed after the work was done.
    Hook,
    /// A code that a command of the reference defines for itself.
    Own(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::TryAgain => 4,
            Self::Hook => 7,
            Self::Own(code) => code,
        }
    }

    /// The word for it in JSON output.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed | Self::Own(_) => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::TryAgain => "try-again",
            Self::Hook => "hook-failed",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as the help shows it.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  done, or nothing to do
  1  failed
  2  wrong usage or configuration
  3  refused by a CA, a policy or a permission
  4  network trouble or busy: try again
  5  waits for a person
  6  partly done
  7  the hook or the proof failed
 10  unchanged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_the_help_promises() {
        for exit in [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::TryAgain, Exit::Hook] {
            assert!(TABLE.contains(&format!("\n{:>3}  ", exit.code())), "{exit:?} is not in the table");
        }
    }
}
