//! The recordings agree with the written rules: the model of [`system_tests::rules`], put behind a
//! socket, does what the C++ RouteServer did. So a server that fails a parity test breaks the
//! rules, not the player's expectations.
//!
//! Left out is what the model does not have: time and limits.

use system_tests::deployment::FanOut;
use system_tests::recording;
use system_tests::rules::server;
use system_tests::scenarios::{self, Chapter};
use system_tests::stage::Stage;
use tokio::task::JoinSet;

#[tokio::test]
async fn the_recordings_agree_with_the_written_rules() {
    let chapters = [
        Chapter::Forwards,
        Chapter::Queries,
        Chapter::Lists,
        Chapter::Updates,
        Chapter::Closing,
        Chapter::Framing,
        Chapter::Defects,
    ];
    let mut playing = JoinSet::new();
    for chapter in chapters {
        playing.spawn(play(chapter));
    }
    let failures: String = playing.join_all().await.concat();
    assert!(failures.is_empty(), "{failures}");
}

async fn play(chapter: Chapter) -> String {
    let mut failures = String::new();
    for scenario in scenarios::of_chapter(chapter) {
        let server = server::serve(FanOut::Broadcast).await;
        let address = server.expect("a listener on a free port");
        let stage = Stage::new(scenario.name(), address);
        for line in scenario.play(stage).await {
            failures += &format!("{}: {line}\n", scenario.name());
        }
    }
    failures
}

#[test]
fn every_recording_has_its_play_and_every_play_its_recording() {
    let plays = Chapter::ALL.into_iter().flat_map(scenarios::of_chapter);
    let plays = plays.map(|play| play.name().to_owned()).collect();

    let recordings = recording::names().unwrap();

    assert_eq!(recordings, plays);
    assert_eq!(recordings.len(), 107);
}
