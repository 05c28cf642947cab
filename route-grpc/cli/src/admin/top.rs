//! `route-grpc top`: the site on a screen that follows it.

mod screen;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use route_proto::admin::v1alpha1::{WatchTopologyRequest, WatchTopologyResponse};
use route_runtime::flags::duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Streaming;

use super::AdminArgs;
use crate::failure::Failure;
use screen::Screen;

/// Before a node that is away is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether a key was pressed, and whether the command has ended.
const KEY_LOOK: Duration = Duration::from_millis(100);

/// Keys that may wait.
const KEYS: usize = 16;

/// Flags of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// From one state to the next, 1s to 1m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    interval: Duration,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What somebody at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    /// Another order of the links.
    Sort,
    Up,
    Down,
    /// The terminal has another size.
    Resized,
}

/// Shows states until `q` or Ctrl-C. A node that goes away is awaited.
pub(crate) async fn run(args: TopArgs) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        let problem =
            "top needs a terminal; for programs there are `stats --json` and `links --json`";
        return Err(Failure::Other(anyhow::anyhow!(problem)));
    }
    // Whoever mistypes the address is told so before there is a screen.
    let states = open(&args).await?;
    let mut terminal = ratatui::try_init()?;
    let is_dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
    let colours = std::env::var_os("NO_COLOR").is_none() && !is_dumb;
    let screen = Screen::new(args.admin.address()?, colours);
    let shown = follow(&args, states, &mut terminal, screen).await;
    ratatui::try_restore()?;
    shown
}

async fn open(args: &TopArgs) -> Result<Streaming<WatchTopologyResponse>, Failure> {
    let mut client = args.admin.connect().await?;
    let interval = args.interval.try_into().ok();
    let states = client
        .watch_topology(WatchTopologyRequest { interval })
        .await?;
    Ok(states.into_inner())
}

async fn follow(
    args: &TopArgs,
    first: Streaming<WatchTopologyResponse>,
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
) -> Result<(), Failure> {
    let mut keys = keys();
    let mut told_to_end = signal(SignalKind::terminate())?;
    let mut states = Some(first);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            _ = told_to_end.recv() => return Ok(()),
            key = keys.recv() => match key {
                None | Some(Key::Quit) => return Ok(()),
                Some(key) => screen.pressed(key),
            },
            state = next(args, &mut states) => match state {
                Ok(state) => screen.show(state),
                Err(failure) if failure.may_pass() => screen.lost(&failure),
                Err(failure) => return Err(failure),
            },
        }
    }
}

/// The next state; of a node that is away, when it is back.
async fn next(
    args: &TopArgs,
    states: &mut Option<Streaming<WatchTopologyResponse>>,
) -> Result<WatchTopologyResponse, Failure> {
    loop {
        let Some(open) = states else {
            sleep(RETRY).await;
            *states = Some(self::open(args).await?);
            continue;
        };
        match open.message().await {
            Ok(Some(state)) => return Ok(state),
            ended => {
                *states = None;
                ended?;
            }
        }
    }
}

/// Keys that are pressed, from a thread of their own: reading them blocks.
fn keys() -> mpsc::Receiver<Key> {
    let (pressed, keys) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while !pressed.is_closed() {
            match event::poll(KEY_LOOK).and_then(|is_there| is_there.then(event::read).transpose())
            {
                Ok(Some(event)) => {
                    if let Some(key) = key(&event)
                        && pressed.blocking_send(key).is_err()
                    {
                        return;
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    });
    keys
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are many keys, and more to come"
)]
fn key(event: &Event) -> Option<Key> {
    let key = match event {
        Event::Resize(..) => return Some(Key::Resized),
        Event::Key(key) if key.kind == KeyEventKind::Press => key,
        _ => return None,
    };
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('s') => Some(Key::Sort),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        _ => None,
    }
}
