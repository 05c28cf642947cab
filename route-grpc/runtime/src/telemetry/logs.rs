//! Set-up of `tracing` for a process: text for a person at a terminal, JSON for everything else.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::log_writer::LogWriter;
use super::traces;

/// Bytes of log lines that may wait for standard output, some 10 000 lines. Further lines are lost
/// and counted.
const BACKLOG_BYTES: usize = 4 << 20;

/// The target of lines that say what operators change.
pub const AUDIT: &str = "audit";

/// The target of the client of NATS. It calls an error what is tried again in a moment; the engine says what matters.
const NATS: &str = "async_nats";

/// Set once, as the subscriber of `tracing` is.
static WRITER: OnceLock<Arc<LogWriter>> = OnceLock::new();

/// Flags about logs. Environment names have the binary's prefix, so the binary adds them:
/// `#[command(mut_arg("log_format", |arg| arg.env("TT_ROUTE_LOG_FORMAT")))]`, and so for
/// `log_filter`.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// How log lines look: auto is text on a terminal, else JSON
    #[arg(long, value_enum, default_value = "auto", help_heading = "Logs")]
    pub log_format: LogFormat,
    /// What is logged: a level, or target=level pairs separated by commas; errors always, unless it begins with off
    #[arg(long, value_parser = filter, default_value = "info", help_heading = "Logs")]
    pub log_filter: String,
}

/// Makes a wrong filter a wrong command line.
fn filter(text: &str) -> Result<String, String> {
    // To tracing, a word alone is a target of which everything is logged, and nothing else: a wrong level, for most.
    for word in text.split(',').filter(|word| !word.contains(['=', '['])) {
        if word.trim().parse::<LevelFilter>().is_err() {
            return Err(format!(
                "{word:?} is no level, which is off, error, warn, info, debug or trace; of a target, write target=level"
            ));
        }
    }
    let parsed = parse(text).map_err(|error| reasons(&error));
    parsed.map(|_| text.to_owned())
}

/// The crates of which something may be logged, beside those of OpenTelemetry.
const CRATES: [&str; 13] = [
    AUDIT,
    NATS,
    "pdu_gateway",
    "route_cli",
    "route_core",
    "route_dialect",
    "route_grpc",
    "route_proto",
    "route_runtime",
    "h2",
    "hyper_util",
    "tonic",
    "tower",
];

/// Targets in this filter as which nothing is logged: mistyped ones. Modules within a crate are not looked at.
pub fn unknown_targets(filter: &str) -> Vec<String> {
    let targets = filter
        .split(',')
        .filter_map(|word| word.split_once(['=', '[']));
    let unknown = targets.filter_map(|(target, _)| {
        let target = target.trim();
        // A target stands for all that begin with it.
        let of = target.split("::").next().unwrap_or_default();
        let is_known = CRATES.iter().any(|known| known.starts_with(of));
        (!is_known && !of.starts_with("opentelemetry")).then(|| target.to_owned())
    });
    unknown.collect()
}

fn warn_of_unknown(filter: &str) {
    let targets = unknown_targets(filter);
    if !targets.is_empty() {
        // Said whatever the filter says.
        tracing::warn!(
            target: AUDIT,
            ?targets,
            "the log filter names targets as which nothing is logged"
        );
    }
}

/// Errors are logged, unless the filter begins with off: elsewhere in it, off is error. What operators change is logged,
/// whatever the filter says. Of the client of NATS, nothing is logged but what the filter names it for.
fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    let is_off = |level: &str| matches!(level.trim().parse(), Ok(LevelFilter::OFF));
    let begins_with_off = filter.split(',').next().is_some_and(is_off);
    let word = |word: &str| match word.rsplit_once('=') {
        _ if begins_with_off => word.to_owned(),
        Some((target, level)) if is_off(level) => format!("{target}=error"),
        None if is_off(word) => "error".to_owned(),
        _ => word.to_owned(),
    };
    let words: Vec<_> = filter.split(',').map(word).collect();
    EnvFilter::try_new(format!("error,{NATS}=off,{},{AUDIT}=info", words.join(",")))
}

/// An error and its causes, each told once.
pub fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let reasons = std::iter::successors(Some(error), |error| error.source());
    let mut reasons: Vec<_> = reasons.map(ToString::to_string).collect();
    reasons.dedup();
    reasons.join(": ")
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text if standard output is a terminal, else JSON.
    Auto,
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("invalid log filter `{filter}`")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The writing thread cannot be started, or standard output cannot be duplicated.
    #[error("cannot start the log writer: {0}")]
    Writer(#[from] io::Error),
    /// This process has set up logging before.
    #[error("logging is already set up")]
    AlreadySet,
}

/// What is logged, and how it is set anew.
struct Filtered {
    handle: reload::Handle<EnvFilter, Registry>,
    /// As at the start.
    first: String,
    /// As it is now, and how often it was set.
    now: Mutex<(String, u64)>,
}

/// Set once, with the subscriber.
static FILTERED: OnceLock<Filtered> = OnceLock::new();

/// What is logged could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// Nothing is: logging is not set up.
    #[error("this process has no log")]
    NoLog,
    /// That is no filter: what is wrong with it.
    #[error("{0}")]
    Filter(String),
}

/// Logs this from now on; as at the start, if it is empty. `for_long`: then it is as at the start
/// again, unless it was set meanwhile; that needs a runtime of tokio. Returns what was logged before.
///
/// # Errors
///
/// Nothing has changed.
pub fn set_log_filter(text: &str, for_long: Option<Duration>) -> Result<String, LogFilterError> {
    let filtered = FILTERED.get().ok_or(LogFilterError::NoLog)?;
    let text = match text {
        "" => filtered.first.clone(),
        text => filter(text).map_err(LogFilterError::Filter)?,
    };
    let (before, count) = filtered
        .set(text.clone(), None)?
        .ok_or(LogFilterError::NoLog)?;
    warn_of_unknown(&text);
    if let Some(time) = for_long {
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            // It was set once already, so it can be.
            let back = filtered.set(filtered.first.clone(), Some(count));
            if matches!(back, Ok(Some(_))) {
                tracing::info!(target: AUDIT, filter = filtered.first, "what is logged is as at the start again");
            }
        });
    }
    Ok(before)
}

impl Filtered {
    /// Sets it, if it was set so often before. Returns what was set, and how often it was set by now.
    fn set(
        &self,
        text: String,
        if_count: Option<u64>,
    ) -> Result<Option<(String, u64)>, LogFilterError> {
        let parsed = parse(&text).map_err(|error| LogFilterError::Filter(reasons(&error)))?;
        let mut now = self.now.lock();
        if if_count.is_some_and(|count| count != now.1) {
            return Ok(None);
        }
        let reloaded = self.handle.reload(parsed);
        reloaded.map_err(|_| LogFilterError::NoLog)?;
        now.1 += 1;
        Ok(Some((std::mem::replace(&mut now.0, text), now.1)))
    }
}

/// Sends what `tracing` reports to standard output.
pub(super) fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let parsed = parse(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let (layer, handle) = reload::Layer::new(parsed);
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    // A handle of its own: a blocked writer would hold the lock of `io::stdout()` for ever.
    let output = File::from(stdout.as_fd().try_clone_to_owned()?);
    let writer = LogWriter::spawn(output, BACKLOG_BYTES)?;

    let text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(Arc::clone(&writer));
    let registry = tracing_subscriber::registry().with(layer);
    let set = if text {
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
        registry.with(lines.with_ansi(colours)).try_init()
    } else {
        let json = lines.json().flatten_event(true).with_span_list(false);
        let json = json.map_event_format(TraceIds);
        registry.with(json).try_init()
    };
    set.map_err(|_| LogError::AlreadySet)?;
    WRITER.set(writer).map_err(|_| LogError::AlreadySet)?;
    let filtered = Filtered {
        handle,
        first: filter.to_owned(),
        now: Mutex::new((filter.to_owned(), 0)),
    };
    FILTERED.set(filtered).map_err(|_| LogError::AlreadySet)?;
    warn_of_unknown(filter);
    Ok(())
}

/// Waits until every line so far is written, at most for `within`: then false. True if logging is
/// not set up.
pub fn flush_logs(within: Duration) -> bool {
    WRITER.get().is_none_or(|writer| writer.flush(within))
}

/// How many lines were lost, because standard output was full or closed.
pub(super) fn lost_log_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.lost_lines())
}

/// JSON with the ids of the trace and the span that a line belongs to, if they are sampled.
struct TraceIds<F>(F);

impl<S, N, F> FormatEvent<S, N> for TraceIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = traces::current_ids() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(
            writer,
            r#"{object},"trace_id":"{trace}","span_id":"{span}"}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// As a binary uses the flags.
    #[derive(Debug, Parser)]
    #[command(mut_arg("log_format", |arg| arg.env("TT_TEST_LOG_FORMAT")))]
    struct Cli {
        #[command(flatten)]
        log: LogArgs,
    }

    #[test]
    fn flags_have_defaults_and_take_environment_names() {
        let cli = Cli::parse_from(["test"]);

        assert_eq!(cli.log.log_format, LogFormat::Auto);
        assert_eq!(cli.log.log_filter, "info");
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("TT_TEST_LOG_FORMAT"), "{help}");
    }

    #[test]
    fn a_filter_is_levels_and_targets_with_levels() {
        for right in [
            "info",
            "WARN",
            "off",
            "5",
            "info,route_grpc=debug",
            "[link]=trace",
        ] {
            assert_eq!(filter(right), Ok(right.to_owned()));
        }
        for (wrong, named) in [
            ("inof", "\"inof\" is no level"),
            ("info,route_grpc", "\"route_grpc\" is no level"),
            ("route=loud", "level"),
        ] {
            let problem = filter(wrong).unwrap_err();
            assert!(problem.contains(named), "{problem}");
        }
    }

    #[test]
    fn a_target_as_which_nothing_is_logged_is_known_to_be_one() {
        let filter = "info,route_grpc=debug,route=info,route_core::routing=trace,route_gprc=debug,nobody::here=info";
        assert_eq!(unknown_targets(filter), ["route_gprc", "nobody::here"]);
        for fine in [
            "",
            "debug",
            "audit=info,h2=warn",
            "[link]=debug",
            "opentelemetry-otlp=debug",
        ] {
            assert_eq!(unknown_targets(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn errors_are_logged_by_a_filter_that_does_not_speak_of_them() {
        for (text, all_targets) in [
            ("route_gprc=debug", "error"),
            ("info", "info"),
            ("off", "off"),
            ("OFF,route_grpc=debug", "off"),
            ("info,off", "error"),
            ("info,route_grpc=off", "info"),
            ("route=debug,warn", "warn"),
        ] {
            let parsed = parse(text).unwrap().to_string();
            let words: Vec<_> = parsed.split(',').filter(|it| !it.contains('=')).collect();
            assert_eq!(words, [all_targets], "{text}: {parsed}");
        }
        for (text, of_target) in [
            ("info,route_grpc=off", "route_grpc=error"),
            ("route_grpc=0", "route_grpc=error"),
            ("off,route_grpc=off", "route_grpc=off"),
        ] {
            let parsed = parse(text).unwrap().to_string();
            assert!(
                parsed.split(',').any(|it| it == of_target),
                "{text}: {parsed}"
            );
        }
    }

    #[test]
    fn a_bad_filter_is_an_error_that_shows_it() {
        let error = init(LogFormat::Text, "route=loud").unwrap_err();

        assert!(matches!(error, LogError::Filter { .. }));
        assert!(error.to_string().contains("`route=loud`"), "{error}");
    }

    #[test]
    fn what_is_not_set_up_is_flushed_and_lost_nothing() {
        assert!(flush_logs(Duration::ZERO));
        assert_eq!(lost_log_lines(), 0);
    }
}
