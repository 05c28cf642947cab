//! Plays that need few words.
//!
//! | words | what happens |
//! |---|---|
//! | `open A B` | two MsgServers connect |
//! | `A lists +1W ~2I` | it lists clients |
//! | `A says -1W +1M` | it reports updates, one after the other |
//! | `B kicks 1M` | it wants a client to be kicked |
//! | `B asks 1 2` | it asks for the status of users |
//! | `A closes`, `A resets` | its connection ends |
//!
//! A client is `+` ONLINE, `-` OFFLINE, `~` LEAVE, the user's number in the play, then Windows,
//! Mac, iOS or Android. After each sentence everything that it causes has come; what a kick causes
//! comes with what follows.

use super::Scenario;
use crate::player::connection::Ending;
use crate::player::messages::{self, Client, Status};
use crate::stage::Stage;

/// A play of these sentences.
pub(super) fn script(name: &'static str, sentences: &'static str) -> Scenario {
    Scenario::new(name, move |stage| Box::pin(play(stage, sentences)))
}

/// Plays by name.
macro_rules! scripts {
    ($($name:ident: $sentences:literal),* $(,)?) => {
        vec![$(crate::scenarios::script::script(stringify!($name), $sentences)),*]
    };
}
pub(super) use scripts;

async fn play(s: &mut Stage, sentences: &str) {
    for sentence in sentences.split(';') {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        match words[..] {
            ["open", ref names @ ..] => s.open(names).await,
            [name, "lists", ref clients @ ..] => {
                let list: Vec<_> = clients.iter().map(|word| client(s, word)).collect();
                s.say(name, messages::list(&list)).await;
            }
            [name, "says", ref clients @ ..] => {
                for word in clients {
                    let (user, status, client) = client(s, word);
                    s.say(name, messages::update(user, status, client)).await;
                }
            }
            [name, "kicks", word] => {
                let (user, _, client) = client(s, &format!("+{word}"));
                s.send(name, messages::kick(user, client)).await;
            }
            [name, "asks", ref users @ ..] => {
                let users: Vec<_> = users.iter().map(|word| user(s, word)).collect();
                s.ask(name, &users).await;
            }
            [name, ending @ ("closes" | "resets")] => {
                let ending = match ending {
                    "closes" => Ending::Fin,
                    _ => Ending::Reset,
                };
                s.close(name, ending).await;
                s.settle().await;
            }
            _ => panic!("a script says {sentence:?}"),
        }
    }
}

/// What a word says of a client.
pub(super) fn client(s: &Stage, word: &str) -> (u32, Status, Client) {
    let (status, rest) = word.split_at(1);
    let (number, client) = rest.split_at(rest.len() - 1);
    let status = match status {
        "+" => Status::Online,
        "-" => Status::Offline,
        _ => Status::Leave,
    };
    let client = match client {
        "W" => Client::Windows,
        "M" => Client::Mac,
        "I" => Client::Ios,
        _ => Client::Android,
    };
    (user(s, number), status, client)
}

fn user(s: &Stage, number: &str) -> u32 {
    s.uid(number.parse().expect("users have numbers"))
}
