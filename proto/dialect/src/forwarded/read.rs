//! Reading bodies that are forwarded.

use super::{
    ChatMessage, ConversationRemoved, FileNotice, FileServer, GroupChange, Kick, P2pCommand,
    ReadReceipt, SignatureChange,
};
use crate::dialect::{BodyError, Dialect};
use crate::fields::Message;
use crate::wire::{Fields, Value, append_ids};

impl Dialect {
    pub(super) fn read_message<'a>(&self, body: &'a [u8]) -> Result<ChatMessage<'a>, BodyError> {
        let read = self.read(Message::Chat, body, |_, _| Ok(()))?;
        let [from, to_id, message_id, create_time, message_type, ..] = read.numbers;
        let of_group = match read.numbers[7] {
            _ if !self.says_conversation() => self.is_of_group(message_type),
            conversation => conversation == 2,
        };
        Ok(ChatMessage {
            from_user_id: from,
            to_id,
            of_group,
            message_id,
            create_time,
            message_type,
            content: read.texts[5],
            attach_data: read.texts[6],
        })
    }

    pub(super) fn read_receipt(&self, body: &[u8]) -> Result<ReadReceipt, BodyError> {
        let read = self.read(Message::ReadReceipt, body, |_, _| Ok(()))?;
        let [user_id, conversation_id, message_id, conversation, ..] = read.numbers;
        Ok(ReadReceipt {
            user_id,
            conversation_id,
            message_id,
            conversation,
        })
    }

    pub(super) fn read_p2p<'a>(&self, body: &'a [u8]) -> Result<P2pCommand<'a>, BodyError> {
        let read = self.read(Message::P2pCommand, body, |_, _| Ok(()))?;
        Ok(P2pCommand {
            from_user_id: read.numbers[0],
            to_user_id: read.numbers[1],
            command: read.texts[2],
        })
    }

    pub(super) fn read_conversation_removed(
        &self,
        body: &[u8],
    ) -> Result<ConversationRemoved, BodyError> {
        let read = self.read(Message::ConversationRemoved, body, |_, _| Ok(()))?;
        let [user_id, conversation, conversation_id, ..] = read.numbers;
        Ok(ConversationRemoved {
            user_id,
            conversation,
            conversation_id,
        })
    }

    pub(super) fn read_kick(&self, body: &[u8]) -> Result<Kick, BodyError> {
        let read = self.read(Message::KickUser, body, |_, _| Ok(()))?;
        let [user_id, client_type, reason, ..] = read.numbers;
        Ok(Kick {
            user_id,
            client_type,
            reason,
        })
    }

    pub(super) fn read_group_change(&self, body: &[u8]) -> Result<GroupChange<'static>, BodyError> {
        let (mut member_ids, mut changed_ids) = (Vec::new(), Vec::new());
        let read = self.read(Message::GroupChanged, body, |place, value| {
            let ids = match place {
                3 => &mut member_ids,
                _ => &mut changed_ids,
            };
            Ok(append_ids(value, ids)?)
        })?;
        let [user_id, change, group_id, ..] = read.numbers;
        Ok(GroupChange {
            user_id,
            change,
            group_id,
            member_ids: member_ids.into(),
            changed_ids: changed_ids.into(),
        })
    }

    pub(super) fn read_file_notice<'a>(&self, body: &'a [u8]) -> Result<FileNotice<'a>, BodyError> {
        let mut servers = Vec::new();
        let read = self.read(Message::FileNotice, body, |_, value| {
            if let Value::Bytes(server) = value {
                let read = self.read(Message::FileServer, server, |_, _| Ok(()))?;
                servers.push(FileServer {
                    ip: read.texts[0],
                    port: read.numbers[1],
                });
            }
            Ok(())
        })?;
        Ok(FileNotice {
            from_user_id: read.numbers[0],
            to_user_id: read.numbers[1],
            file_name: read.texts[2],
            file_size: read.numbers[3],
            task_id: read.texts[4],
            servers,
            transfer_mode: read.numbers[6],
            offline_ready: read.numbers[7],
        })
    }

    pub(super) fn read_signature<'a>(
        &self,
        body: &'a [u8],
    ) -> Result<SignatureChange<'a>, BodyError> {
        let read = self.read(Message::SignatureChanged, body, |_, _| Ok(()))?;
        Ok(SignatureChange {
            user_id: read.numbers[0],
            signature: read.texts[1],
        })
    }
}

/// The users whose ids stand in these fields. None at all is not what a fork sends.
pub(super) fn users_in(body: &[u8], fields: &[u32]) -> Result<Vec<u32>, BodyError> {
    let mut users = Vec::new();
    for field in Fields::new(body) {
        let (number, value) = field?;
        if fields.contains(&number) {
            append_ids(value, &mut users)?;
        }
    }
    if users.is_empty() {
        return Err(BodyError::Missing("each field of users"));
    }
    Ok(users)
}
