//! Whether a gateway that says hello may come in.

use super::Gateways;
use super::hello::{Admission, Hello, Objection};
use super::reach::Reach;

impl Gateways {
    /// Decides about a hello. Changes nothing. While a life of its id has a stream, another one is
    /// refused; `waited`: it has waited for that to end, so silence is enough. Who is gone outranks
    /// nobody, and no clock decides.
    pub(crate) fn judge(&self, hello: &Hello, waited: bool) -> Result<Admission, Objection> {
        if let Some(taken) = self.by_incarnation.get(&hello.incarnation) {
            if taken.hello.id != hello.id {
                return Err(Objection::IncarnationInUse);
            }
            if taken.hello.secret != hello.secret {
                let holder = taken.hello.whence.clone();
                return Err(Objection::IdInUse { holder });
            }
            if hello.taken > taken.queue.handed_out() {
                return Err(Objection::TookTooMuch);
            }
            if taken.hello.dialect != hello.dialect {
                return Err(Objection::OtherDialect);
            }
            let is_newer = hello.attempt > taken.hello.attempt;
            return is_newer
                .then_some(Admission::Resumed)
                .ok_or(Objection::Superseded);
        }
        let Some(present) = self.get_by_id(&hello.id) else {
            if self.past.has_newer(hello) {
                return Err(Objection::Superseded);
            }
            let full = self.by_incarnation.len() >= self.limits.most;
            return if full {
                Err(Objection::TooMany)
            } else {
                Ok(Admission::Fresh)
            };
        };
        let is_silent = present.reach() == Reach::Silent;
        if present.reach().is_attached() && !(waited && is_silent) {
            let holder = present.hello.whence.clone();
            return Err(Objection::IdInUse { holder });
        }
        if self.past.has_newer(hello) {
            return Err(Objection::Superseded);
        }
        Ok(Admission::Replaces(present.hello.incarnation))
    }
}
