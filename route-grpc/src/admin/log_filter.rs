//! What the process logs, set anew.

use std::time::Duration;

use route_proto::admin::v1alpha1::{SetLogFilterRequest, SetLogFilterResponse};
use route_runtime::telemetry::{LogFilterError, set_log_filter};

use crate::refusal::Refusal;

/// For how long it may be set, if not for good.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest filter, bytes: it is logged, and told.
const MOST_BYTES: usize = 1024;

/// Sets it; a task sets it back.
pub(super) fn set(request: &SetLogFilterRequest) -> Result<SetLogFilterResponse, Refusal> {
    if request.filter.len() > MOST_BYTES {
        let problem = format!(
            "{} bytes, at most {MOST_BYTES} are allowed",
            request.filter.len()
        );
        return Err(Refusal::field("filter", problem));
    }
    let for_long = match request.duration {
        None => None,
        Some(duration) => {
            let duration = Duration::try_from(duration).ok();
            let wrong = || Refusal::field("duration", "has to be from 0 to 24 h");
            Some(duration.filter(|it| *it <= LONGEST).ok_or_else(wrong)?)
        }
    };
    let set = set_log_filter(&request.filter, for_long);
    let previous_filter = set.map_err(|error| match error {
        LogFilterError::NoLog => Refusal::NotFound {
            what: "log".to_owned(),
        },
        LogFilterError::Filter(problem) => Refusal::field("filter", problem),
    })?;
    Ok(SetLogFilterResponse { previous_filter })
}
