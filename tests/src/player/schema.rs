//! Bodies read by the tables of the written protocol, as strictly as the C++ parser does (prost is
//! more lenient).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::pdu::command;
use super::wire::{self, Malformed, Value as Wire};

/// A message: its fields as the protocol's table has them.
#[derive(Debug)]
pub struct Schema {
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    number: u64,
    name: &'static str,
    label: Label,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Required,
    Optional,
    Repeated,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Number,
    /// A closed enum: any other value counts as an unknown field.
    Choice(&'static [u32]),
    Bytes,
    Message(&'static Schema),
}

/// A decoded body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    known: BTreeMap<&'static str, Vec<Item>>,
    unknown: Vec<Unknown>,
    /// Names of required fields that are absent, in this message or in one inside it.
    missing: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Number(u32),
    Bytes(Vec<u8>),
    Message(Body),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unknown {
    number: u64,
    wire_type: u8,
    value: UnknownValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum UnknownValue {
    Varint(u64),
    Bytes(Vec<u8>),
}

impl Schema {
    /// Reads a body; required fields may be absent.
    ///
    /// # Errors
    /// [`Malformed`] if it is not protobuf.
    pub fn read(&'static self, data: &[u8]) -> Result<Body, Malformed> {
        let mut body = Body::default();
        for raw in wire::fields(data)? {
            match self.interpret(raw)? {
                Some((field, items)) => body.put(field, items),
                None => body.unknown.push(Unknown::from(raw)),
            }
        }
        for field in self.fields {
            if field.label == Label::Required && !body.known.contains_key(field.name) {
                body.missing.push(field.name);
            }
        }
        Ok(body)
    }

    /// Reads a body as the C++ parser does: every required field must be there. But of a message, any
    /// type is taken if it has none that C++ knows: forks have more.
    ///
    /// # Errors
    /// [`Malformed`] if the C++ RouteServer would drop such a body.
    pub fn read_strictly(&'static self, data: &[u8]) -> Result<Body, Malformed> {
        let mut body = self.read(data)?;
        body.take_odd_type();
        if body.missing.is_empty() {
            Ok(body)
        } else {
            Err(Malformed)
        }
    }

    /// The field and the values that a raw field carries, or `None` if it counts as unknown.
    fn interpret(
        &self,
        raw: wire::Field<'_>,
    ) -> Result<Option<(&'static Field, Vec<Item>)>, Malformed> {
        let Some(field) = self.fields.iter().find(|field| field.number == raw.number) else {
            return Ok(None);
        };
        let items = match (field.kind, raw.value) {
            (Kind::Number | Kind::Choice(_), Wire::Varint(value)) => {
                // 64-bit varints keep their low 32 bits.
                let value = value as u32;
                if let Kind::Choice(allowed) = field.kind
                    && !allowed.contains(&value)
                {
                    return Ok(None);
                }
                vec![Item::Number(value)]
            }
            (Kind::Number, Wire::Delimited(bytes)) if field.label == Label::Repeated => {
                wire::packed(bytes)?
                    .into_iter()
                    .map(|value| Item::Number(value as u32))
                    .collect()
            }
            (Kind::Bytes, Wire::Delimited(bytes)) => vec![Item::Bytes(bytes.to_vec())],
            (Kind::Message(schema), Wire::Delimited(bytes)) => {
                vec![Item::Message(schema.read(bytes)?)]
            }
            _ => return Ok(None),
        };
        Ok(Some((field, items)))
    }
}

impl Body {
    fn take_odd_type(&mut self) {
        const FIELD: u64 = 5;
        if self.missing != ["msg_type"] {
            return;
        }
        let odd = self.unknown.iter().rev().find_map(|it| match it.value {
            UnknownValue::Varint(value) if it.number == FIELD => Some(value as u32),
            UnknownValue::Varint(_) | UnknownValue::Bytes(_) => None,
        });
        if let Some(odd) = odd {
            self.known.insert("msg_type", vec![Item::Number(odd)]);
            self.missing.clear();
        }
    }

    /// A number, if the field is there.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers(name).last().copied()
    }

    /// All numbers of a repeated field.
    pub fn numbers(&self, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for item in self.known.get(name).into_iter().flatten() {
            if let Item::Number(value) = item {
                found.push(*value);
            }
        }
        found
    }

    /// The bytes of a field, if it is there.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.known.get(name)?.last()? {
            Item::Bytes(bytes) => Some(bytes),
            Item::Number(_) | Item::Message(_) => None,
        }
    }

    /// The messages of a repeated field.
    pub fn messages(&self, name: &str) -> impl Iterator<Item = &Body> {
        self.known
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|item| match item {
                Item::Message(body) => Some(body),
                Item::Number(_) | Item::Bytes(_) => None,
            })
    }

    /// The body as the recordings write it: printable bytes as text, others as `hex:…`.
    pub fn to_json(&self, schema: &Schema) -> Json {
        let mut out = Map::new();
        for field in schema.fields {
            let Some(items) = self.known.get(field.name) else {
                continue;
            };
            let mut items: Vec<Json> = items.iter().map(|item| field.item_json(item)).collect();
            let value = match field.label {
                Label::Repeated => Json::Array(items),
                Label::Required | Label::Optional => items.pop().unwrap_or_default(),
            };
            out.insert(field.name.to_owned(), value);
        }
        if !self.unknown.is_empty() {
            let unknown = self.unknown.iter().map(Unknown::to_json).collect();
            out.insert("_unknown".to_owned(), Json::Array(unknown));
        }
        Json::Object(out)
    }

    fn put(&mut self, field: &Field, items: Vec<Item>) {
        for item in &items {
            if let Item::Message(inner) = item {
                self.missing.extend(&inner.missing);
            }
        }
        let slot = self.known.entry(field.name).or_default();
        match field.label {
            Label::Repeated => slot.extend(items),
            // the last of a repeated scalar wins
            Label::Required | Label::Optional => *slot = items,
        }
    }
}

impl Field {
    fn item_json(&self, item: &Item) -> Json {
        match (item, self.kind) {
            (Item::Number(value), _) => json!(value),
            (Item::Bytes(bytes), _) => readable(bytes),
            (Item::Message(body), Kind::Message(schema)) => body.to_json(schema),
            (Item::Message(_), _) => Json::Null,
        }
    }
}

impl From<wire::Field<'_>> for Unknown {
    fn from(raw: wire::Field<'_>) -> Self {
        let value = match raw.value {
            Wire::Varint(value) => UnknownValue::Varint(value),
            Wire::Fixed(bytes) | Wire::Delimited(bytes) => UnknownValue::Bytes(bytes.to_vec()),
            Wire::Group => UnknownValue::Bytes(Vec::new()),
        };
        Self {
            number: raw.number,
            wire_type: raw.value.wire_type(),
            value,
        }
    }
}

impl Unknown {
    fn to_json(&self) -> Json {
        let value = match &self.value {
            UnknownValue::Varint(value) => json!(value),
            UnknownValue::Bytes(bytes) => readable(bytes),
        };
        json!([self.number, self.wire_type, value])
    }
}

/// Printable bytes as text, others as `hex:…`.
fn readable(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => json!(text),
        _ => json!(format!("hex:{}", hex(bytes))),
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const STATUS: Kind = Kind::Choice(&[1, 2, 3]);
const CLIENT_TYPE: Kind = Kind::Choice(&[0x01, 0x02, 0x11, 0x12]);
const SESSION_TYPE: Kind = Kind::Choice(&[1, 2]);

/// The tables: label, number, name and kind of each field. Those of commands have the commands'
/// names.
macro_rules! schemas {
    (
        parts: { $($part:ident { $($part_fields:tt)* })* }
        commands: { $($message:ident { $($fields:tt)* })* }
    ) => {
        $(static $part: Schema = schemas!(@ $($part_fields)*);)*
        $(static $message: Schema = schemas!(@ $($fields)*);)*

        /// The message of a command, if it is one of the protocol's table.
        pub fn of_command(id: u16) -> Option<&'static Schema> {
            match id {
                $(command::$message => Some(&$message),)*
                _ => None,
            }
        }
    };
    (@ $($label:ident $number:literal $name:ident: $kind:expr;)*) => {
        Schema {
            fields: &[$(Field {
                number: $number,
                name: stringify!($name),
                label: Label::$label,
                kind: $kind,
            }),*],
        }
    };
}

schemas! {
    parts: {
        USER_STAT {
            Required 1 user_id: Kind::Number;
            Required 2 status: STATUS;
        }
        SERVER_USER_STAT {
            Required 1 user_id: Kind::Number;
            Required 2 status: STATUS;
            Required 3 client_type: CLIENT_TYPE;
        }
        IP_ADDRESS {
            Required 1 ip: Kind::Bytes;
            Required 2 port: Kind::Number;
        }
    }
    commands: {
        STATUS_NOTICE {
            Required 1 user_stat: Kind::Message(&USER_STAT);
        }
        USERS_STATUS_QUERY {
            Required 1 user_id: Kind::Number;
            Repeated 2 user_id_list: Kind::Number;
            Optional 20 attach_data: Kind::Bytes;
        }
        USERS_STATUS_ANSWER {
            Required 1 user_id: Kind::Number;
            Repeated 2 user_stat_list: Kind::Message(&USER_STAT);
            Optional 20 attach_data: Kind::Bytes;
        }
        CONVERSATION_REMOVED {
            Required 1 user_id: Kind::Number;
            Required 2 session_type: SESSION_TYPE;
            Required 3 session_id: Kind::Number;
        }
        SIGNATURE_CHANGED {
            Required 1 changed_user_id: Kind::Number;
            Required 2 sign_info: Kind::Bytes;
        }
        MESSAGE {
            Required 1 from_user_id: Kind::Number;
            Required 2 to_session_id: Kind::Number;
            Required 3 msg_id: Kind::Number;
            Required 4 create_time: Kind::Number;
            Required 5 msg_type: Kind::Choice(&[0x01, 0x02, 0x11, 0x12]);
            Required 6 msg_data: Kind::Bytes;
            Optional 20 attach_data: Kind::Bytes;
        }
        READ_RECEIPT {
            Required 1 user_id: Kind::Number;
            Required 2 session_id: Kind::Number;
            Required 3 msg_id: Kind::Number;
            Required 4 session_type: SESSION_TYPE;
        }
        GROUP_CHANGED {
            Required 1 user_id: Kind::Number;
            Required 2 change_type: Kind::Choice(&[1, 2]);
            Required 3 group_id: Kind::Number;
            Repeated 4 cur_user_id_list: Kind::Number;
            Repeated 5 chg_user_id_list: Kind::Number;
        }
        FILE_NOTICE {
            Required 1 from_user_id: Kind::Number;
            Required 2 to_user_id: Kind::Number;
            Required 3 file_name: Kind::Bytes;
            Required 4 file_size: Kind::Number;
            Required 5 task_id: Kind::Bytes;
            Repeated 6 ip_addr_list: Kind::Message(&IP_ADDRESS);
            Required 7 trans_mode: Kind::Choice(&[1, 2]);
            Required 8 offline_ready: Kind::Number;
        }
        P2P_COMMAND {
            Required 1 from_user_id: Kind::Number;
            Required 2 to_user_id: Kind::Number;
            Required 3 cmd_msg_data: Kind::Bytes;
        }
        HEARTBEAT {}
        ROLE_SET {
            Required 1 master: Kind::Number;
        }
        ONLINE_USER_LIST {
            Repeated 1 user_stat_list: Kind::Message(&SERVER_USER_STAT);
        }
        USER_STATUS_UPDATE {
            Required 1 user_status: Kind::Number;
            Required 2 user_id: Kind::Number;
            Required 3 client_type: CLIENT_TYPE;
        }
        KICK_USER {
            Required 1 user_id: Kind::Number;
            Required 2 client_type: CLIENT_TYPE;
            Required 3 reason: Kind::Number;
        }
        DESKTOP_LOGIN_NOTICE {
            Required 1 user_id: Kind::Number;
            Required 2 login_status: Kind::Number;
        }
    }
}
