//! What MsgServers are told, judged as it comes.

use std::time::Duration;

use route_proto::legacy::im::buddy::{ImUserStatNotify, ImUsersStatRsp};
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::ImMsgData;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use system_tests::player::pdu::{Pdu, command};

use crate::handover::connection::Asked;
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
                let asked = connection.asked.remove(&pdu.sequence);
                self.answered(number, pdu, asked);
            }
            command::MESSAGE => {
                let body: ImMsgData = decoded(pdu);
                self.got_message(server, number, body.msg_id);
            }
            command::GROUP_CHANGED => {
                let body: ImGroupChangeMemberNotify = decoded(pdu);
                self.got_message(server, number, body.group_id);
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

    pub(crate) fn got_message(&mut self, server: usize, number: usize, id: u32) {
        self.say(|| format!("s{server} c{number} gets message {id}"));
        let message = &self.messages[id as usize];
        let (origin, from, sent) = (message.connection, message.server, message.sent);
        if from == server && !self.servers[server].came_back_twice() {
            self.violate(format!("message {id} came back to MsgServer {server}"));
        }
        let life = self.lives_of_nodes;
        let connection = self.connections.get(&number);
        let opened = connection.map_or(Duration::ZERO, |connection| connection.opened);
        let it = &mut self.servers[server];
        let receipt = Receipt {
            connection: number,
            life,
        };
        let first = it.messages.insert(id, receipt);
        let newest = it.newest.entry(origin).or_default();
        let newer = *newest;
        *newest = id.max(newer);
        // What waited for a connection that it had before comes late; of two that count, each has
        // its own order.
        let is_late = (it.interrupted && opened > sent) || it.came_back_twice();
        let in_turn = id >= newer || sent <= it.cut_off_until || is_late;
        if let Some(first) = first {
            if !self.may_repeat(id, first, receipt) {
                self.violate(format!("message {id} came twice to MsgServer {server}"));
            }
        } else if !in_turn {
            self.violate(format!(
                "message {id} came to MsgServer {server} after {newer}"
            ));
        }
    }

    pub(crate) fn answered(&mut self, number: usize, pdu: &Pdu, asked: Option<Asked>) {
        let sequence = pdu.sequence;
        let Some(asked) = asked else {
            self.violate(format!("connection {number}: no query {sequence} was open"));
            return;
        };
        let body: ImUsersStatRsp = decoded(pdu);
        self.say(|| format!("c{number} is answered {sequence}"));
        let answers: Vec<(u32, bool)> = body
            .user_stat_list
            .iter()
            .map(|stat| (stat.user_id, stat.status == 1))
            .collect();
        let fits = answers.len() == asked.expected.len()
            && answers
                .iter()
                .zip(&asked.expected)
                .all(|(is, should)| is.0 == should.0 && should.1.is_none_or(|on| on == is.1));
        if !fits {
            let expected = asked.expected;
            self.violate(format!(
                "connection {number} query {sequence}: answered {answers:?}, expected {expected:?}"
            ));
        }
    }
}

fn decoded<M: prost::Message + Default>(pdu: &Pdu) -> M {
    M::decode(pdu.body.clone()).expect("what arrives was sent whole")
}
