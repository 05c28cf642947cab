//! What MsgServers are told, judged as it comes.

use std::time::Duration;

use route_proto::legacy::im::buddy::ImUserStatNotify;
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::ImMsgData;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use system_tests::cast::judge::questions::Answer;
use system_tests::player::pdu::{Pdu, command};

use crate::handover::msg_server::Receipt;
use crate::handover::world::World;

impl World {
    pub(crate) fn receive(&mut self, number: usize, pdu: &Pdu) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let server = connection.server;
        match pdu.command {
            command::HEARTBEAT => {}
            command::USERS_STATUS_ANSWER => {
                let answer = connection.asked.answered(pdu, false);
                self.answered(number, pdu.sequence, answer);
            }
            command::MESSAGE => {
                let body: ImMsgData = decoded(pdu);
                self.got_message(server, number, body.msg_id, pdu);
            }
            command::GROUP_CHANGED => {
                let body: ImGroupChangeMemberNotify = decoded(pdu);
                self.got_message(server, number, body.group_id, pdu);
            }
            command::STATUS_NOTICE => {
                let body: ImUserStatNotify = decoded(pdu);
                let (user, on) = (body.user_stat.user_id, body.user_stat.status == 1);
                self.say(|| format!("s{server} c{number} is told: {user} {on}"));
                let notices = &mut self.servers[server].notices;
                notices.entry(user).or_default().push(on);
            }
            command::DESKTOP_LOGIN_NOTICE => {
                let body: ImServerPcLoginStatusNotify = decoded(pdu);
                let on = body.login_status == 1;
                let logins = &mut self.servers[server].logins;
                logins.entry(body.user_id).or_default().push(on);
            }
            command::KICK_USER => *self.kicks.entry(number).or_default() += 1,
            other => self.violate(format!("MsgServer {server} got command {other:#06x}")),
        }
    }

    pub(crate) fn got_message(&mut self, server: usize, number: usize, id: u32, pdu: &Pdu) {
        self.say(|| format!("s{server} c{number} gets message {id}"));
        let receipt = Receipt {
            connection: number,
            life: self.lives_of_nodes,
        };
        let arrival = self.messages.came(server, id, &pdu.encode(), receipt);
        let (Some(arrival), Some(sent)) = (arrival, self.messages.note(id)) else {
            self.violate(format!(
                "MsgServer {server} got message {id}, which nobody sent"
            ));
            return;
        };
        let sent = sent.at;
        let it = &self.servers[server];
        let connection = self.connections.get(&number);
        let opened = connection.map_or(Duration::ZERO, |connection| connection.opened);
        // What waited for a connection that it had before comes late; of two that count, each has
        // its own order.
        let may_be_late =
            it.came_back_twice() || (it.interrupted && opened > sent) || sent <= it.cut_off_until;
        let came_back = arrival.from == server && !it.came_back_twice();
        if came_back {
            self.violate(format!("message {id} came back to MsgServer {server}"));
        }
        if let Some(before) = arrival.before {
            if !self.may_repeat(sent, before, receipt) {
                self.violate(format!("message {id} came twice to MsgServer {server}"));
            }
        } else if let Some(after) = arrival.after
            && !may_be_late
        {
            self.violate(format!(
                "message {id} came to MsgServer {server} after {after}"
            ));
        }
    }

    fn answered(
        &mut self,
        number: usize,
        sequence: u16,
        answer: Result<Option<Answer<Vec<Option<bool>>>>, String>,
    ) {
        self.say(|| format!("c{number} is answered {sequence}"));
        match answer {
            Ok(Some(Answer { note, online })) => {
                let mut pairs = online.iter().zip(&note);
                if !pairs.all(|((_, is), right)| right.is_none_or(|right| right == *is)) {
                    self.violate(format!(
                        "connection {number} query {sequence}: answered {online:?}, expected {note:?}"
                    ));
                }
            }
            Ok(None) => {}
            Err(wrong) => self.violate(format!("connection {number} got {wrong}")),
        }
    }
}

fn decoded<M: prost::Message + Default>(pdu: &Pdu) -> M {
    M::decode(pdu.body.clone()).expect("what arrives was sent whole")
}
