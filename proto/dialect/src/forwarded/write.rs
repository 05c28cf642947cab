//! Writing what services publish.

use std::sync::LazyLock;

use route_proto::pdu::{HEADER_LEN, Header};

use super::{FileNotice, Forwarded};
use crate::command::Command;
use crate::dialect::Dialect;
use crate::fields::Message;

impl Dialect {
    /// Appends a whole PDU with this body. False, and nothing is appended, if MsgServers of this dialect would not take
    /// it: it has no such command, client type or message type.
    pub fn write_forwarded(&self, out: &mut Vec<u8>, body: &Forwarded<'_>) -> bool {
        let (command, message) = match body {
            Forwarded::Message(chat) if !self.has_message_type(chat.message_type) => return false,
            Forwarded::Message(_) => (Command::Message, Message::Chat),
            Forwarded::ReadReceipt(_) => (Command::ReadReceipt, Message::ReadReceipt),
            Forwarded::P2pCommand(_) => (Command::P2pCommand, Message::P2pCommand),
            Forwarded::ConversationRemoved(_) => {
                (Command::ConversationRemoved, Message::ConversationRemoved)
            }
            Forwarded::KickUser(kick) if self.class(kick.client_type).is_none() => return false,
            Forwarded::KickUser(_) => (Command::KickUser, Message::KickUser),
            Forwarded::GroupChanged(_) => (Command::GroupChanged, Message::GroupChanged),
            Forwarded::FileNotice(_) => (Command::FileNotice, Message::FileNotice),
            Forwarded::SignatureChanged(_) => {
                (Command::SignatureChanged, Message::SignatureChanged)
            }
            Forwarded::Extra(_) => return false,
        };
        self.put_pdu(out, command, 0, |out| {
            self.put_body(out, message, body);
            self.put_constants(out, message);
        })
    }

    /// What services publish has one form, in which it stands in logs and goes to gateways: that of TeamTalk, with whatever
    /// types. Appends it as MsgServers of this dialect read it; false, and nothing is appended, if they would not take it.
    pub fn write_published(&self, out: &mut Vec<u8>, pdu: &[u8]) -> bool {
        let published = Self::published();
        let Some((header, body)) = pdu.split_first_chunk::<HEADER_LEN>() else {
            return false;
        };
        match published.read_forwarded(Header::read(header).command, body) {
            Some(Ok(mut read)) => {
                if let Forwarded::Message(chat) = &mut read {
                    chat.of_group = self.is_of_group(chat.message_type);
                }
                self.write_forwarded(out, &read)
            }
            Some(Err(_)) | None => false,
        }
    }

    /// MsgServers of this dialect take this, which is published: as it is, and they have its type of client or
    /// message.
    pub fn takes(&self, pdu: &[u8]) -> bool {
        let body = pdu.split_first_chunk::<HEADER_LEN>();
        let read = body.and_then(|(header, body)| {
            Self::published().read_forwarded(Header::read(header).command, body)
        });
        self.takes_published()
            && match read {
                Some(Ok(Forwarded::Message(chat))) => self.has_message_type(chat.message_type),
                Some(Ok(Forwarded::KickUser(kick))) => self.class(kick.client_type).is_some(),
                Some(Ok(_) | Err(_)) | None => true,
            }
    }

    /// MsgServers of this dialect read what services publish as it is.
    pub fn takes_published(&self) -> bool {
        self.writes_like(Self::published())
    }

    /// In which services publish.
    pub fn published() -> &'static Dialect {
        static PUBLISHED: LazyLock<Dialect> = LazyLock::new(|| Dialect::standard().lenient());
        &PUBLISHED
    }

    fn put_body(&self, out: &mut Vec<u8>, message: Message, body: &Forwarded<'_>) {
        let mut number = |place, value| self.put_number(out, message, place, value);
        match body {
            Forwarded::Message(chat) => {
                number(0, chat.from_user_id);
                number(1, chat.to_id);
                number(2, chat.message_id);
                number(3, chat.create_time);
                number(4, chat.message_type);
                number(7, if chat.of_group { 2 } else { 1 });
                self.put_bytes(out, message, 5, chat.content);
                if !chat.attach_data.is_empty() {
                    self.put_bytes(out, message, 6, chat.attach_data);
                }
            }
            Forwarded::ReadReceipt(read) => {
                number(0, read.user_id);
                number(1, read.conversation_id);
                number(2, read.message_id);
                number(3, read.conversation);
            }
            Forwarded::P2pCommand(p2p) => {
                number(0, p2p.from_user_id);
                number(1, p2p.to_user_id);
                self.put_bytes(out, message, 2, p2p.command);
            }
            Forwarded::ConversationRemoved(removed) => {
                number(0, removed.user_id);
                number(1, removed.conversation);
                number(2, removed.conversation_id);
            }
            Forwarded::KickUser(kick) => {
                number(0, kick.user_id);
                number(1, kick.client_type);
                number(2, kick.reason);
            }
            Forwarded::GroupChanged(group) => {
                number(0, group.user_id);
                number(1, group.change);
                number(2, group.group_id);
                group.member_ids.iter().for_each(|id| number(3, *id));
                group.changed_ids.iter().for_each(|id| number(4, *id));
            }
            Forwarded::FileNotice(file) => self.put_file_notice(out, file),
            Forwarded::SignatureChanged(changed) => {
                number(0, changed.user_id);
                self.put_bytes(out, message, 1, changed.signature);
            }
            Forwarded::Extra(_) => {}
        }
    }

    fn put_file_notice(&self, out: &mut Vec<u8>, file: &FileNotice<'_>) {
        const NOTICE: Message = Message::FileNotice;
        self.put_number(out, NOTICE, 0, file.from_user_id);
        self.put_number(out, NOTICE, 1, file.to_user_id);
        self.put_bytes(out, NOTICE, 2, file.file_name);
        self.put_number(out, NOTICE, 3, file.file_size);
        self.put_bytes(out, NOTICE, 4, file.task_id);
        for server in &file.servers {
            self.put_message(out, NOTICE, 5, |out| {
                self.put_bytes(out, Message::FileServer, 0, server.ip);
                self.put_number(out, Message::FileServer, 1, server.port);
                self.put_constants(out, Message::FileServer);
            });
        }
        self.put_number(out, NOTICE, 6, file.transfer_mode);
        self.put_number(out, NOTICE, 7, file.offline_ready);
    }
}
