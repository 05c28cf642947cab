//! What MsgServers of TeamTalk's forks write and read, as their own .proto files say, for the messages that differ from
//! TeamTalk's.

use prost::Message;
use route_proto::legacy::im;
use route_proto::pdu::command;

use crate::dice::Dice;

/// A body that a fork's MsgServer sends, and whom it concerns.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its command.
    pub command: u16,
    /// As the fork encodes it.
    pub body: Vec<u8>,
    /// Whom it concerns.
    pub concerns: Concerns,
}

/// Whom a body concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerns {
    /// Whoever holds one of these users.
    Users(Vec<u32>),
    /// All others that have ever reported a user.
    Reporters,
    /// All others.
    Others,
    /// All with a session, the sender too.
    Sessions,
}

fn sample(command: u16, body: &impl Message, concerns: Concerns) -> Sample {
    Sample {
        command,
        body: body.encode_to_vec(),
        concerns,
    }
}

/// The fork whose server commands are at 0x08xx. proto2.
pub mod server_commands_at_0x08xx {
    use super::{Concerns, Dice, Message, Sample, command, im, sample};

    /// `UserStat`: also an entry of a list.
    #[derive(Clone, PartialEq, Message)]
    pub struct UserStat {
        /// Who.
        #[prost(uint32, required, tag = "1")]
        pub user_id: u32,
        /// How.
        #[prost(int32, required, tag = "2")]
        pub status: i32,
        /// On what.
        #[prost(int32, optional, tag = "3")]
        pub client_type: Option<i32>,
    }

    /// `IMOnlineUserInfo` (0x0808).
    #[derive(Clone, PartialEq, Message)]
    pub struct OnlineUserInfo {
        /// All of them.
        #[prost(message, repeated, tag = "1")]
        pub user_stat_list: Vec<UserStat>,
    }

    /// `IMUserStatusUpdate` (0x080a).
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusUpdate {
        /// How.
        #[prost(uint32, required, tag = "1")]
        pub user_status: u32,
        /// Who.
        #[prost(uint32, required, tag = "2")]
        pub user_id: u32,
        /// On what.
        #[prost(int32, required, tag = "3")]
        pub client_type: i32,
        /// For the database.
        #[prost(uint32, optional, tag = "10")]
        pub user_uid: Option<u32>,
    }

    /// `IMUserStatNotify` (0x0203), which we send.
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusNotice {
        /// Whose.
        #[prost(message, required, tag = "1")]
        pub user_stat: UserStat,
    }

    /// `IMUsersInfoRsp` (0x020b), which we send.
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusAnswer {
        /// Who asked.
        #[prost(uint32, required, tag = "1")]
        pub user_id: u32,
        /// The answer.
        #[prost(message, repeated, tag = "2")]
        pub user_stat_list: Vec<UserStat>,
        /// As it came.
        #[prost(bytes = "vec", optional, tag = "20")]
        pub attach_data: Option<Vec<u8>>,
    }

    /// `IMGroupChangeMemberRsp` (0x040b).
    #[derive(Clone, PartialEq, Message)]
    pub struct GroupChange {
        /// By whom.
        #[prost(uint32, required, tag = "1")]
        pub user_id: u32,
        /// 1 added, 2 removed.
        #[prost(int32, required, tag = "2")]
        pub change_type: i32,
        /// Never sent.
        #[prost(uint32, optional, tag = "3")]
        pub result_code: Option<u32>,
        /// Which.
        #[prost(uint32, required, tag = "4")]
        pub group_id: u32,
        /// Members.
        #[prost(uint32, repeated, packed = "false", tag = "5")]
        pub cur_user_id_list: Vec<u32>,
        /// Who came or went.
        #[prost(uint32, repeated, packed = "false", tag = "6")]
        pub chg_user_id_list: Vec<u32>,
    }

    /// `IMAddFriendReq` (0x0212) and `IMFriendNotifyReq` (0x0222), as far as they are alike.
    #[derive(Clone, PartialEq, Message)]
    struct FriendRequest {
        #[prost(uint32, required, tag = "1")]
        from_user_id: u32,
        #[prost(uint32, required, tag = "2")]
        to_user_id: u32,
        #[prost(int32, optional, tag = "3")]
        status: Option<i32>,
        #[prost(string, optional, tag = "6")]
        nickname: Option<String>,
    }

    /// `IMCommonOperFriendRes` (0x0215, 0x0228).
    #[derive(Clone, PartialEq, Message)]
    struct FriendAnswer {
        #[prost(uint32, required, tag = "1")]
        user_id: u32,
        #[prost(uint32, required, tag = "2")]
        result_code: u32,
        #[prost(uint32, optional, tag = "10")]
        friend_id: Option<u32>,
    }

    /// `IMOrderStatusRead` (0x0312).
    #[derive(Clone, PartialEq, Message)]
    struct OrderRead {
        #[prost(uint32, required, tag = "1")]
        user_id: u32,
        #[prost(uint32, required, tag = "2")]
        order_id: u32,
        #[prost(uint32, required, tag = "3")]
        orderlist_is_null: u32,
    }

    /// One of each that its MsgServers forward, from `a` to `b`.
    pub fn samples(dice: &mut Dice, a: u32, b: u32) -> Vec<Sample> {
        let number = dice.roll(1 << 31) as u32;
        let message = |msg_type: i32| im::message::ImMsgData {
            from_user_id: a,
            to_session_id: b,
            msg_id: 1,
            create_time: 2,
            msg_type,
            msg_data: (&b"hello"[..]).into(),
            attach_data: None,
        };
        let group = GroupChange {
            user_id: a,
            change_type: 1,
            result_code: None,
            group_id: number,
            cur_user_id_list: vec![b],
            chg_user_id_list: vec![a],
        };
        let kick = im::server::ImServerKickUser {
            user_id: b,
            client_type: 0x11,
            reason: 1,
        };
        let both = || Concerns::Users(vec![a, b]);
        let mut samples = vec![
            sample(command::MESSAGE, &message(0x21), both()),
            sample(command::MESSAGE, &message(0x32), both()),
            sample(command::MESSAGE, &message(0x11), Concerns::Reporters),
            sample(command::GROUP_CHANGED, &group, both()),
            sample(0x080d, &kick, Concerns::Others),
        ];
        samples.extend(of_its_own(number, a, b));
        samples
    }

    /// Of commands that TeamTalk does not have.
    fn of_its_own(number: u32, a: u32, b: u32) -> [Sample; 6] {
        let request = FriendRequest {
            from_user_id: a,
            to_user_id: b,
            status: Some(0),
            nickname: Some("\u{9646}".to_owned()),
        };
        let answer = |friend_id| FriendAnswer {
            user_id: b,
            result_code: 0,
            friend_id,
        };
        let order = OrderRead {
            user_id: b,
            order_id: number,
            orderlist_is_null: 0,
        };
        let to_b = || Concerns::Users(vec![b]);
        [
            sample(0x0212, &request, to_b()),
            sample(0x0215, &answer(None), to_b()),
            sample(0x0222, &request, to_b()),
            sample(0x0228, &answer(Some(a)), Concerns::Users(vec![b, a])),
            sample(0x0312, &order, to_b()),
            Sample {
                command: 0x0815,
                body: Vec::new(),
                concerns: Concerns::Others,
            },
        ]
    }
}

/// A fork that has applications and domains instead of client types. proto2.
pub mod app_ids {
    use super::{Concerns, Dice, Message, Sample, command, sample};

    /// `ServerUserStat`.
    #[derive(Clone, PartialEq, Message)]
    pub struct OnlineUser {
        /// Who.
        #[prost(uint32, required, tag = "1")]
        pub user_id: u32,
        /// How.
        #[prost(int32, required, tag = "2")]
        pub status: i32,
        /// 3, 11 and 23 are desktops, 1, 2, 21 and 22 mobiles.
        #[prost(uint32, required, tag = "3")]
        pub app_id: u32,
        /// Which company.
        #[prost(uint32, required, tag = "4")]
        pub domain_id: u32,
    }

    /// `IMOnlineUserInfo` (0x0708).
    #[derive(Clone, PartialEq, Message)]
    pub struct OnlineUserInfo {
        /// All of them.
        #[prost(message, repeated, tag = "1")]
        pub user_stat_list: Vec<OnlineUser>,
    }

    /// `IMUserStatusUpdate` (0x070a).
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusUpdate {
        /// How.
        #[prost(uint32, required, tag = "1")]
        pub user_status: u32,
        /// Who.
        #[prost(uint32, required, tag = "2")]
        pub user_id: u32,
        /// On what.
        #[prost(uint32, required, tag = "3")]
        pub app_id: u32,
        /// Which company.
        #[prost(uint32, required, tag = "4")]
        pub domain_id: u32,
    }

    /// `IMServerKickUser` (0x070d).
    #[derive(Clone, PartialEq, Message)]
    pub struct Kick {
        /// Who.
        #[prost(uint32, required, tag = "1")]
        pub user_id: u32,
        /// On what.
        #[prost(uint32, required, tag = "2")]
        pub app_id: u32,
        /// Which company.
        #[prost(uint32, required, tag = "3")]
        pub domain_id: u32,
        /// Why.
        #[prost(uint32, required, tag = "4")]
        pub reason: u32,
    }

    /// `IMMsgData` (0x0301).
    #[derive(Clone, PartialEq, Message)]
    pub struct ChatMessage {
        /// Who.
        #[prost(uint32, required, tag = "1")]
        pub from_user_id: u32,
        /// To whom.
        #[prost(uint32, required, tag = "2")]
        pub to_session_id: u32,
        /// Its number.
        #[prost(uint32, required, tag = "3")]
        pub msg_id: u32,
        /// When.
        #[prost(uint32, required, tag = "4")]
        pub create_time: u32,
        /// What.
        #[prost(int32, required, tag = "5")]
        pub msg_type: i32,
        /// Contents.
        #[prost(bytes = "vec", required, tag = "6")]
        pub msg_data: Vec<u8>,
        /// On what.
        #[prost(uint32, optional, tag = "20")]
        pub app_id: Option<u32>,
        /// Which company.
        #[prost(uint32, optional, tag = "21")]
        pub domain_id: Option<u32>,
        /// As it came.
        #[prost(bytes = "vec", optional, tag = "22")]
        pub attach_data: Option<Vec<u8>>,
    }

    /// What differs, from `a` to `b`.
    pub fn samples(dice: &mut Dice, a: u32, b: u32) -> Vec<Sample> {
        let message = |msg_type| ChatMessage {
            from_user_id: a,
            to_session_id: b,
            msg_id: 1,
            create_time: 2,
            msg_type,
            msg_data: b"hello".to_vec(),
            app_id: Some(23),
            domain_id: Some(1200),
            attach_data: Some(b"as it came".to_vec()),
        };
        let kick = Kick {
            user_id: b,
            app_id: 23,
            domain_id: dice.roll(1 << 31) as u32,
            reason: 1,
        };
        vec![
            sample(command::MESSAGE, &message(1), Concerns::Users(vec![a, b])),
            // A card of a product.
            sample(command::MESSAGE, &message(3), Concerns::Users(vec![a, b])),
            sample(command::MESSAGE, &message(0x12), Concerns::Reporters),
            sample(command::KICK_USER, &kick, Concerns::Others),
        ]
    }
}

/// Forks that say `syntax = "proto3"`: zeros are left out, lists are packed.
pub mod proto3 {
    use super::{Concerns, Dice, Message, Sample, command, sample};

    /// `ServerUserStat`, `UserStat`.
    #[derive(Clone, PartialEq, Message)]
    pub struct OnlineUser {
        /// Who.
        #[prost(uint32, tag = "1")]
        pub user_id: u32,
        /// How; 0 is there.
        #[prost(int32, tag = "2")]
        pub status: i32,
        /// On what; 0 is a desktop.
        #[prost(int32, tag = "3")]
        pub client_type: i32,
    }

    /// `IMOnlineUserInfo` (0x0708).
    #[derive(Clone, PartialEq, Message)]
    pub struct OnlineUserInfo {
        /// All of them.
        #[prost(message, repeated, tag = "1")]
        pub user_stat_list: Vec<OnlineUser>,
    }

    /// `IMUserStatusUpdate` (0x070a).
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusUpdate {
        /// How.
        #[prost(uint32, tag = "1")]
        pub user_status: u32,
        /// Who.
        #[prost(uint32, tag = "2")]
        pub user_id: u32,
        /// On what.
        #[prost(int32, tag = "3")]
        pub client_type: i32,
    }

    /// `IMUsersStatReq` (0x020a).
    #[derive(Clone, PartialEq, Message)]
    pub struct StatusQuery {
        /// Who asks.
        #[prost(uint32, tag = "1")]
        pub user_id: u32,
        /// About whom.
        #[prost(uint32, repeated, tag = "2")]
        pub user_id_list: Vec<u32>,
        /// As it came.
        #[prost(bytes = "vec", tag = "20")]
        pub attach_data: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ChatMessage {
        #[prost(uint32, tag = "1")]
        from_user_id: u32,
        #[prost(uint32, tag = "2")]
        to_session_id: u32,
        #[prost(uint32, tag = "3")]
        msg_id: u32,
        #[prost(uint32, tag = "4")]
        create_time: u32,
        #[prost(int32, tag = "5")]
        msg_type: i32,
        #[prost(bytes = "vec", tag = "6")]
        msg_data: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ReadReceipt {
        #[prost(uint32, tag = "1")]
        user_id: u32,
        #[prost(uint32, tag = "2")]
        session_id: u32,
        #[prost(uint32, tag = "3")]
        msg_id: u32,
        #[prost(int32, tag = "4")]
        session_type: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Pair {
        #[prost(uint32, tag = "1")]
        from_user_id: u32,
        #[prost(uint32, tag = "2")]
        to_user_id: u32,
        #[prost(string, tag = "3")]
        text: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct GroupChange {
        #[prost(uint32, tag = "1")]
        user_id: u32,
        #[prost(int32, tag = "2")]
        change_type: i32,
        #[prost(uint32, tag = "3")]
        group_id: u32,
        #[prost(uint32, repeated, tag = "4")]
        cur_user_id_list: Vec<u32>,
        #[prost(uint32, repeated, tag = "5")]
        chg_user_id_list: Vec<u32>,
    }

    /// What its MsgServers forward, from `a` to `b`, with zeros here and there.
    pub fn samples(dice: &mut Dice, a: u32, b: u32) -> Vec<Sample> {
        let mut number = || [0, 1, u32::MAX][dice.roll(3)];
        let mut message = |msg_type| ChatMessage {
            from_user_id: a,
            to_session_id: b,
            msg_id: number(),
            create_time: number(),
            msg_type,
            msg_data: Vec::new(),
        };
        let messages = [message(0), message(2), message(0x12)];
        let receipt = ReadReceipt {
            user_id: b,
            session_id: a,
            msg_id: number(),
            session_type: 0,
        };
        let pair = Pair {
            from_user_id: a,
            to_user_id: b,
            text: String::new(),
        };
        let group = GroupChange {
            user_id: 0,
            change_type: 0,
            group_id: number(),
            cur_user_id_list: vec![a, b],
            chg_user_id_list: vec![],
        };
        let both = || Concerns::Users(vec![a, b]);
        vec![
            sample(command::MESSAGE, &messages[0], both()),
            sample(command::MESSAGE, &messages[1], both()),
            sample(command::MESSAGE, &messages[2], Concerns::Reporters),
            sample(command::READ_RECEIPT, &receipt, Concerns::Users(vec![b])),
            sample(command::P2P_COMMAND, &pair, both()),
            sample(command::GROUP_CHANGED, &group, both()),
            sample(
                command::SIGNATURE_CHANGED,
                &Pair::default(),
                Concerns::Sessions,
            ),
        ]
    }
}
