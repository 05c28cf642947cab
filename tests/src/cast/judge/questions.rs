//! Queries of one who asks: each is answered once, in the order of asking, and of the users whom it
//! names. Whether the answer is right, whoever asks has to know.

use std::collections::VecDeque;

use prost::Message as _;
use route_proto::legacy::im::base_define::UserStatType;
use route_proto::legacy::im::buddy::ImUsersStatRsp;

use crate::player::messages;
use crate::player::pdu::Pdu;

/// Those that are open. `N` is noted of each.
#[derive(Debug)]
pub struct Questions<N> {
    open: VecDeque<Question<N>>,
    asked: u32,
}

#[derive(Debug)]
struct Question<N> {
    sequence: u16,
    attach: Vec<u8>,
    users: Vec<u32>,
    note: N,
}

/// An answer to the question that was next.
#[derive(Debug)]
pub struct Answer<N> {
    /// What was noted of the question.
    pub note: N,
    /// Who is online, in the order of asking.
    pub online: Vec<(u32, bool)>,
}

impl<N> Default for Questions<N> {
    fn default() -> Self {
        Self {
            open: VecDeque::new(),
            asked: 0,
        }
    }
}

impl<N> Questions<N> {
    /// The next question, as it is sent. `attaches`: something that has to come back.
    pub fn ask(&mut self, asker: u32, users: Vec<u32>, attaches: bool, note: N) -> Pdu {
        self.asked += 1;
        let sequence = self.asked as u16;
        let attach = self.asked.to_be_bytes();
        let attach = attaches.then_some(&attach[..]);
        let pdu = messages::query(asker, &users, attach).sequence(sequence);
        self.open.push_back(Question {
            sequence,
            attach: attach.unwrap_or_default().to_vec(),
            users,
            note,
        });
        pdu
    }

    /// An answer has come. `may_miss`: earlier questions may stay without one; `None` if this is to
    /// one that nobody waits for any more.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn answered(&mut self, pdu: &Pdu, may_miss: bool) -> Result<Option<Answer<N>>, String> {
        let sequence = pdu.sequence;
        let Ok(answer) = ImUsersStatRsp::decode(pdu.body.clone()) else {
            return Err(format!("an answer to query {sequence} that does not parse"));
        };
        let attach = answer.attach_data.unwrap_or_default();
        let is_this = |next: &Question<N>| next.attach == attach && next.sequence == sequence;
        let place = self.open.iter().position(is_this);
        match place {
            Some(place) if may_miss => drop(self.open.drain(..place)),
            None if may_miss => return Ok(None),
            Some(0) => {}
            _ => {
                return Err(format!(
                    "an answer to query {sequence} twice or out of order"
                ));
            }
        }
        let Some(question) = self.open.pop_front() else {
            return Ok(None);
        };
        let online: Vec<_> = (answer.user_stat_list.iter())
            .map(|user| {
                let online = UserStatType::UserStatusOnline as i32;
                (user.user_id, user.status == online)
            })
            .collect();
        if !online.iter().map(|(user, _)| user).eq(&question.users) {
            return Err(format!("an answer to query {sequence} that names others"));
        }
        Ok(Some(Answer {
            note: question.note,
            online,
        }))
    }

    /// Nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The sequence numbers of those that are open, of which no answer is expected any more.
    pub fn give_up(&mut self) -> Vec<u16> {
        self.open.drain(..).map(|open| open.sequence).collect()
    }

    /// Of those that are open: users, and what was noted.
    pub fn open(&mut self) -> impl Iterator<Item = (&[u32], &mut N)> {
        let open = self.open.iter_mut();
        open.map(|question| (&question.users[..], &mut question.note))
    }
}
