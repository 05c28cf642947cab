//! Follows a stream across a drain or a restart of its node: opens it again at the last position.
//! Tells on standard error when the node is away and when it is back, for programs read the output.

use std::time::Duration;

use tonic::Streaming;

use crate::failure::Failure;
use crate::show;

/// Attempts to come back before giving up.
const ATTEMPTS: u32 = 10;

/// Before the first attempt; twice as long before each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Says once that the node is away, and that it is back.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    is_away: bool,
}

impl Absence {
    /// It does not answer, for this reason.
    pub(crate) fn begins(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_away, true) {
            show::warning(&format!("the node is away, trying again: {failure}"));
        }
    }

    /// It answers.
    pub(crate) fn ends(&mut self) {
        if std::mem::replace(&mut self.is_away, false) {
            show::warning("the node is back");
        }
    }
}

/// Opens a stream at `position` and shows its messages; opens it again when it breaks. Ends when
/// `show` says that it was the last, at Ctrl-C, or when the node refuses for good or stays away.
pub(crate) async fn follow<M>(
    position: String,
    position_of: impl Fn(&M) -> &str,
    open: impl AsyncFnMut(String) -> Result<Streaming<M>, Failure>,
    show: impl FnMut(M) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        end = follow_on(position, position_of, open, show) => end,
    }
}

async fn follow_on<M>(
    mut position: String,
    position_of: impl Fn(&M) -> &str,
    mut open: impl AsyncFnMut(String) -> Result<Streaming<M>, Failure>,
    mut show: impl FnMut(M) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut absence = Absence::default();
    let mut failed = 0;
    let mut first = true;
    loop {
        let opened = open(position.clone()).await;
        let is_open = opened.is_ok();
        if is_open {
            absence.ends();
        }
        let mut broken = match opened {
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(message)) => {
                        (failed, first) = (0, false);
                        if !position_of(&message).is_empty() {
                            position_of(&message).clone_into(&mut position);
                        }
                        if show(message)? {
                            return Ok(());
                        }
                    }
                    Ok(None) => break None,
                    Err(status) => break Some(Failure::from(status)),
                }
            },
            Err(failure) => Some(failure),
        };
        failed += 1;
        let final_failure =
            broken.take_if(|failure| first || !may_pass(failure, is_open) || failed > ATTEMPTS);
        if let Some(failure) = final_failure {
            return Err(failure);
        }
        // A stream ends for many reasons. If it cannot be opened again, the node is away.
        if let Some(failure) = &broken
            && !is_open
        {
            absence.begins(failure);
        }
        let pause = (FIRST_PAUSE * (1 << failed.min(10))).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

/// Whether there is use in opening the stream again. One that was open may have ended because a token or a certificate had
/// its time, and the files may have newer ones.
fn may_pass(failure: &Failure, was_open: bool) -> bool {
    failure.may_pass() || was_open && failure.is_unauthenticated()
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn a_stream_that_was_open_is_opened_again_when_a_token_has_had_its_time() {
        let expired = Failure::from(Status::unauthenticated("the token has expired"));
        let denied = Failure::from(Status::permission_denied("no listener"));

        assert!(may_pass(&expired, true), "the file may have a newer one");
        assert!(!may_pass(&expired, false), "it has none");
        assert!(!may_pass(&denied, true));
    }
}
