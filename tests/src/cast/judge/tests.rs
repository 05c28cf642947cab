//! The judge sees what it is there for.

use std::collections::BTreeMap;

use route_proto::legacy::im::base_define::UserStat;
use route_proto::legacy::im::buddy::ImUsersStatRsp;

use super::*;

#[test]
fn what_arrives_as_it_is_due_is_right() {
    let mut play = Play::new();
    play.messages(20);
    play.updates(20);
    let question = play.state.query(0, &mut play.dice);
    let answer = play.right_answer(&question);

    play.everything_arrives();
    play.state.arrived(0, &answer);

    assert!(play.state.is_quiet());
    let tally = play.state.conclude();
    assert_eq!(tally.deviations, Vec::<String>::new());
    assert_eq!((tally.messages, tally.queries), (20, 1));
}

#[test]
fn what_does_not_arrive_is_lost() {
    let mut play = Play::new();
    play.messages(10);
    let last = play.due(1, 0).pop();

    play.everything_arrives_but(last.as_ref());

    assert!(!play.state.is_quiet());
    assert_eq!(play.state.conclude().lost, 1);
    assert!(play.state.is_quiet(), "it is told once");
}

#[test]
fn what_arrives_again_is_told() {
    let mut play = Play::new();
    play.messages(10);
    let first = play.due(1, 0).remove(0);
    play.everything_arrives();

    play.state.arrived(1, &first);

    assert_eq!(play.state.conclude().twice, 1);
}

#[test]
fn what_is_overtaken_is_told_when_it_comes() {
    let mut play = Play::new();
    play.messages(10);
    let due = play.due(1, 0);

    for place in [1, 0] {
        play.state.arrived(1, &due[place]);
    }
    play.everything_arrives();

    let tally = play.state.conclude();
    assert_eq!((tally.disordered, tally.lost, tally.twice), (1, 0, 0));
}

#[test]
fn notices_are_due_once_each() {
    let mut play = Play::new();
    play.updates(10);
    let notice = play.due(1, 0).remove(0);
    play.everything_arrives();
    play.state.arrived(1, &notice);
    assert_eq!(play.state.conclude().wrong_notices, 1, "again");

    play.updates(10);
    let missing = play.due(2, 0).len() as u64;
    play.state.routes[2][0].notices.clear();
    play.updates(10);
    let missing_too = play.due(2, 0).len() as u64;
    assert!(missing > 0 && missing_too > 0);
    assert!(play.state.conclude().wrong_notices >= missing_too, "never");
}

#[test]
fn an_answer_of_offline_for_somebody_who_stays_is_false() {
    let mut play = Play::new();
    let question = play.state.query(0, &mut play.dice);
    let offline = play.answer(&question, |_| false);

    play.state.arrived(0, &offline);

    let tally = play.state.conclude();
    assert!(tally.false_offline >= SERVERS as u64, "{tally:?}");
}

#[test]
fn answers_come_once_and_in_order() {
    let mut play = Play::new();
    let questions = [(); 2].map(|()| play.state.query(0, &mut play.dice));
    let [first, second] = questions.map(|question| play.right_answer(&question));

    for answer in [&second, &first, &first, &second] {
        play.state.arrived(0, answer);
    }

    assert_eq!(play.state.conclude().wrong_answers, 2);
}

#[test]
fn what_is_known_of_a_user_is_what_was_known_when_it_was_asked() {
    let mut play = Play::new();
    play.updates(200);
    let asked = play.state.population.ask();
    play.everything_arrives();
    let later = play.state.population.ask();

    let population = &play.state.population;
    let known =
        |asked| (1003..1033).filter(move |user| population.answer(*user, 1, asked).is_some());

    assert!(known(asked).count() < known(later).count());
    assert_eq!(known(later).count(), 30);
}

#[test]
fn routes_are_restored_when_something_new_has_come_on_each() {
    let mut play = Play::new();
    play.messages(10);
    play.state.interrupt();
    play.everything_arrives();
    assert_eq!(play.state.restored(), None, "that was sent before");

    for origin in 0..SERVERS {
        play.messages_of(origin, 20);
    }
    play.everything_arrives();

    assert!(play.state.restored().is_some());
}

#[test]
fn what_was_on_its_way_when_the_node_was_lost_is_due_in_some_way() {
    let mut play = Play::new();
    play.updates(50);
    let notices: Vec<_> = (0..SERVERS).map(|to| play.due(to, 0)).collect();

    play.state.lose_node();

    assert!((0..SERVERS).all(|to| play.due(to, 0).is_empty()));
    assert!(!play.state.is_quiet());
    // As the lost node told it, to the last.
    for (to, due) in notices.iter().enumerate() {
        for due in due {
            play.state.arrived(to, due);
        }
    }
    assert!(play.state.is_quiet());
    assert_eq!(play.state.conclude().deviations, Vec::<String>::new());
}

struct Play {
    state: State,
    dice: Dice,
}

impl Play {
    fn new() -> Self {
        let judge = Judge::new(Population::new());
        Self {
            state: judge.state.into_inner(),
            dice: Dice::new(1),
        }
    }

    fn messages(&mut self, count: usize) {
        self.messages_of(0, count);
    }

    fn messages_of(&mut self, origin: usize, count: usize) {
        for _ in 0..count {
            // A moment that is after any interruption.
            let now = Instant::now() + Duration::from_nanos(1);
            self.state.message(origin, now, &mut self.dice);
        }
    }

    fn updates(&mut self, count: usize) {
        for _ in 0..count {
            self.state.update(0, &mut self.dice);
        }
    }

    /// In the order in which it is due.
    fn due(&self, target: usize, origin: usize) -> Vec<Bytes> {
        let missing = self.state.messages.missing();
        let missing = missing.filter(|(_, it)| it.server == origin && it.due.contains(&target));
        let notices = self.state.routes[target][origin].notices.iter();
        let notices = notices.map(|notice| (notice.number, notice.raw.clone()));
        let messages = missing.map(|(number, message)| (number, message.raw.clone()));
        let due: BTreeMap<_, _> = notices.chain(messages).collect();
        due.into_values().collect()
    }

    fn everything_arrives(&mut self) {
        self.everything_arrives_but(None);
    }

    fn everything_arrives_but(&mut self, lost: Option<&Bytes>) {
        for (target, origin) in (0..SERVERS).flat_map(|to| (0..SERVERS).map(move |of| (to, of))) {
            for raw in self.due(target, origin) {
                if target != 1 || Some(&raw) != lost {
                    self.state.arrived(target, &raw);
                }
            }
        }
    }

    /// The answer that MsgServer 0 must get.
    fn right_answer(&self, question: &Bytes) -> Vec<u8> {
        let now = u64::MAX;
        self.answer(question, |user| {
            self.state.population.answer(user, 0, now).unwrap_or(true)
        })
    }

    fn answer(&self, question: &Bytes, online: impl Fn(u32) -> bool) -> Vec<u8> {
        use route_proto::legacy::im::buddy::ImUsersStatReq;

        let pdu = Pdu::parse(question);
        let question = ImUsersStatReq::decode(pdu.body.clone()).unwrap();
        let status = |user_id| UserStat {
            user_id,
            status: if online(user_id) { 1 } else { 2 },
        };
        let answer = ImUsersStatRsp {
            user_id: question.user_id,
            user_stat_list: question.user_id_list.iter().copied().map(status).collect(),
            attach_data: question.attach_data,
        };
        pdus::encoded(command::USERS_STATUS_ANSWER, &answer)
            .sequence(pdu.sequence)
            .encode()
    }
}

#[test]
fn what_an_excused_msg_server_misses_is_not_lost_but_twice_is_twice() {
    let mut play = Play::new();
    play.messages(10);
    let last = play.due(1, 0).pop().unwrap();
    play.state.excuse(1);

    for _ in 0..2 {
        play.state.arrived(1, &last);
    }
    for (target, origin) in [0, 2, 3].iter().flat_map(|t| (0..SERVERS).map(|o| (*t, o))) {
        for due in play.due(target, origin) {
            play.state.arrived(target, &due);
        }
    }

    assert!(play.state.is_quiet());
    let tally = play.state.conclude();
    assert_eq!((tally.lost, tally.disordered, tally.twice), (0, 0, 1));
}
