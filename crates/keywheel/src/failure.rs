//! Why a command did not succeed, and which exit code says so.

use crate::exit::Exit;

/// The result of everything that a command does.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

/// An error on its way to the person, with its exit code and perhaps an advice.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
    /// Whether the reader of our output went away.
    unheard: bool,
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It failed for a reason that is neither usage, refusal nor network.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A message of our own.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, error: anyhow::Error::msg(message.into()), hint: None, unheard: false }
    }

    /// An error of another room, classed.
    pub(crate) fn of(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None, unheard: false }
    }

    /// The output cannot be written.
    pub(crate) fn of_output(error: std::io::Error) -> Self {
        let unheard = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { unheard, ..Self::of(Exit::Failed, error).context("write to stdout") }
    }

    /// Something that the person could do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done when it happened.
    pub(crate) fn context(mut self, doing: impl Into<String>) -> Self {
        self.error = self.error.context(doing.into());
        self
    }

    /// The same with another exit code.
    pub(crate) fn exit_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The advice.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The whole chain of causes in one line, each said once.
    pub(crate) fn message(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            // A wrapper that already repeats its cause does not make us say it twice.
            if line.ends_with(&text) {
                continue;
            }
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        line
    }

    /// Whether the reader of our output went away, which is nobody's fault.
    pub(crate) fn is_unheard(&self) -> bool {
        self.unheard
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error, hint: None, unheard: false }
    }
}

/// Adds a class to the error of a result.
pub(crate) trait Classed<T> {
    /// Wrong usage or configuration.
    fn or_usage(self, doing: impl FnOnce() -> String) -> Outcome<T>;
    /// Plain failure.
    fn or_failed(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Classed<T> for Result<T, E> {
    fn or_usage(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure::of(Exit::Usage, error).context(doing()))
    }

    fn or_failed(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure::of(Exit::Failed, error).context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_every_cause_once() {
        let error = std::io::Error::other("disk on fire");
        let failure = Failure::of(Exit::Failed, error).context("write a.crt");
        assert_eq!(failure.message(), "write a.crt: disk on fire");
    }

    #[test]
    fn only_a_reader_of_our_output_that_went_away_is_nobodys_fault() {
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::of_output(broken()).is_unheard());
        assert!(!Failure::of_output(std::io::ErrorKind::StorageFull.into()).is_unheard());
        // A connection to a CA ends in the same kind of error, and that is a failure.
        assert!(!Failure::of(Exit::TryAgain, broken()).context("ask the CA").is_unheard());
    }
}
