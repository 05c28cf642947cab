//! The plays: what MsgServers do, step by step. What the C++ RouteServer did in each of them is
//! recorded in `tests/golden/`, under the play's name.
//!
//! A play of [`Chapter::Defects`] is one in which the C++ RouteServer crashes, corrupts streams,
//! leaks or stalls. It is judged by what a good server must show; its recording is only there to be
//! read.

mod closing;
mod defects;
mod floods;
mod forwards;
mod framing;
mod lists;
mod queries;
mod script;
mod timing;
mod updates;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::timeout;

use crate::recording::Outcome;
use crate::stage::Stage;

/// A play that hangs breaks off.
const LIMIT: Duration = Duration::from_secs(300);

/// What a play is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chapter {
    /// What goes to whom, unchanged.
    Forwards,
    /// Who is online?
    Queries,
    /// These users are here.
    Lists,
    /// A client came or went.
    Updates,
    /// Connections that end.
    Closing,
    /// PDUs in a byte stream.
    Framing,
    /// Heartbeats and time-outs: half a minute.
    Timing,
    /// Small inputs that the C++ RouteServer does not survive, or answers wrongly.
    Defects,
    /// Much input at once.
    Floods,
}

/// All plays of a chapter.
pub fn of_chapter(chapter: Chapter) -> Vec<Scenario> {
    match chapter {
        Chapter::Forwards => forwards::all(),
        Chapter::Queries => queries::all(),
        Chapter::Lists => lists::all(),
        Chapter::Updates => updates::all(),
        Chapter::Closing => closing::all(),
        Chapter::Framing => framing::all(),
        Chapter::Timing => timing::all(),
        Chapter::Defects => defects::all(),
        Chapter::Floods => floods::all(),
    }
}

impl Chapter {
    /// All chapters.
    pub const ALL: [Self; 9] = [
        Self::Forwards,
        Self::Queries,
        Self::Lists,
        Self::Updates,
        Self::Closing,
        Self::Framing,
        Self::Timing,
        Self::Defects,
        Self::Floods,
    ];
}

/// One play.
pub struct Scenario {
    name: String,
    play: Box<dyn Fn(&mut Stage) -> Playing<'_> + Send + Sync>,
    judge: Option<fn(&Outcome) -> Vec<String>>,
    fresh: bool,
}

/// A play going on.
type Playing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Scenario {
    fn new(
        name: impl Into<String>,
        play: impl Fn(&mut Stage) -> Playing<'_> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            play: Box::new(play),
            judge: None,
            fresh: false,
        }
    }

    /// Not compared with the recording, but judged: `judge` says what is wrong.
    fn judged(mut self, judge: fn(&Outcome) -> Vec<String>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Needs a server of its own: what it measures must not be another play's.
    fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// The play's name, which is also its recording's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it needs a server that has done nothing yet.
    pub fn needs_fresh_server(&self) -> bool {
        self.fresh
    }

    /// Plays it and says what is wrong; empty: all as it should be.
    pub async fn play(&self, mut stage: Stage) -> Vec<String> {
        let over = timeout(LIMIT, (self.play)(&mut stage)).await;
        let outcome = stage.outcome();
        let mut wrong = match (self.judge, Outcome::recorded(&self.name)) {
            (Some(judge), _) => judge(&outcome),
            (None, Ok(wanted)) => outcome.differences(&wanted),
            (None, Err(missing)) => vec![missing],
        };
        if over.is_err() {
            wrong.push(format!("not over after {LIMIT:?}"));
        }
        wrong
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is wrong if a fact is not as wanted.
fn wants(outcome: &Outcome, key: &str, wanted: impl Into<Json>) -> Option<String> {
    let (got, wanted) = (outcome.facts.get(key), wanted.into());
    if got == Some(&wanted) {
        return None;
    }
    let got = got.map_or_else(|| "unknown".to_owned(), Json::to_string);
    Some(format!("{key} is {got}, wanted {wanted}"))
}

/// A fact that is a number; missing ones are beyond every bound.
fn measured(outcome: &Outcome, key: &str) -> f64 {
    let value = outcome.facts.get(key).and_then(Json::as_f64);
    value.unwrap_or(f64::INFINITY)
}

/// The plays that are functions of this module, under the functions' names.
macro_rules! plays {
    ($($play:ident),* $(,)?) => {
        vec![$(crate::scenarios::Scenario::new(stringify!($play), |stage| Box::pin($play(stage)))),*]
    };
}
use plays;
