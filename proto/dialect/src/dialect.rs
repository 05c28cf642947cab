//! A dialect: what the commands of a fork are, and how its bodies are read and written.

use std::io::Read as _;

use route_proto::pdu::{HEADER_LEN, Header};

use crate::command::Command;
use crate::definition::{
    BUILT_IN, Definition, DefinitionError, MAX_DEFINITION, MessageTypes, Syntax,
};
use crate::fields::{Kind, MAX_FIELDS, MESSAGES, Message, fields_at};
use crate::tables::{self, Class, Meaning, Stands};
use crate::wire::{self, Fields, Value, WireError};

/// Types of messages that one definition may name, in each list.
const MOST_TYPES: usize = 256;

/// The same of all dialects together.
const MOST_TYPES_IN_ALL: usize = 4096;

/// Set in the types of mobile clients and of group messages, unless a dialect says otherwise.
const DEFAULT_BIT: u32 = 0x10;

/// The legacy protocol as some MsgServers speak it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    definition: Definition,
    /// What is missing is zero, and enums are open.
    open: bool,
    /// Id of each command; 0 if there is none.
    ids: [u16; Command::COUNT],
    /// By id, in order.
    meanings: Vec<(u16, Meaning)>,
    /// By message and field.
    places: [[Stands; MAX_FIELDS]; MESSAGES],
    /// What else is written, by message.
    constants: [Vec<u8>; MESSAGES],
    /// By type.
    client_types: [Option<Class>; 256],
    message_types: MessageTypes,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is no protobuf message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A required field is not there, or only with another type.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A required field has a value that its enum does not have.
    #[error("{0} has no valid value")]
    Value(&'static str),
    /// An update of a desktop client with a status that does not exist. (It made the C++ RouteServer abort.)
    #[error("{0} is no status")]
    Status(u32),
    /// A query about more users than its answer could tell of in a PDU.
    #[error("it asks about too many users")]
    TooMany,
}

/// The fields of one message that was read, by place.
pub(crate) struct Read<'m> {
    pub(crate) numbers: [u32; MAX_FIELDS],
    pub(crate) texts: [&'m [u8]; MAX_FIELDS],
}

impl Dialect {
    /// TeamTalk as published.
    pub fn standard() -> Self {
        Self::built_in("teamtalk").expect("it comes with the product")
    }

    /// One that comes with the product.
    pub fn built_in(name: &str) -> Option<Self> {
        let definition = Definition::built_in(name)?;
        Some(Self::new(definition).expect("a test makes each of them"))
    }

    /// Reads a definition: TOML of at most [`MAX_DEFINITION`](crate::MAX_DEFINITION) bytes, as `docs/dialects.md`
    /// describes it.
    ///
    /// # Errors
    ///
    /// Something in it cannot be read, or cannot be; the error says what.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let dialect = Self::new(Definition::parse(text)?)?;
        let types = &dialect.message_types;
        if types.single.len().max(types.group.len()) > MOST_TYPES {
            return tables::refuse(format!("message_types: at most {MOST_TYPES} in each list"));
        }
        // As it is told to nodes.
        if dialect.definition().len() > MAX_DEFINITION {
            return Err(DefinitionError::TooLong);
        }
        Ok(dialect)
    }

    /// As flags give it: the name of a built-in one, or a file with a definition.
    ///
    /// # Errors
    ///
    /// It is neither; in words.
    pub fn named(text: &str) -> Result<Self, String> {
        if let Some(built_in) = Self::built_in(text) {
            return Ok(built_in);
        }
        let names = BUILT_IN.map(|(name, _)| name).join(", ");
        let read = || {
            let mut definition = String::new();
            let file = std::fs::File::open(text)?;
            // One byte more, so that it is refused.
            file.take(MAX_DEFINITION as u64 + 1)
                .read_to_string(&mut definition)?;
            std::io::Result::Ok(definition)
        };
        let definition =
            read().map_err(|error| format!("it is none of {names}, and as a file: {error}"))?;
        Self::parse(&definition).map_err(|error| error.to_string())
    }

    /// The same with more client types, whose class bit 0x10 says.
    pub fn with_client_types(self, more: &[u8]) -> Self {
        let mut definition = self.definition;
        let types = definition.client_types.get_or_insert_default();
        for &client_type in more {
            if types.desktop.contains(&client_type) || types.mobile.contains(&client_type) {
                continue;
            }
            match default_class(client_type.into()) {
                Class::Desktop => types.desktop.push(client_type),
                Class::Mobile => types.mobile.push(client_type),
            }
        }
        Self::new(definition).expect("types that stand nowhere else")
    }

    /// The same without the types of messages that it names.
    pub fn without_message_types(mut self) -> Self {
        self.message_types = MessageTypes::default();
        self
    }

    /// The same with the message types of another one, as far as they are not named here, and not too many are.
    pub fn with_message_types_of(mut self, other: &Dialect) -> Self {
        let types = &mut self.message_types;
        let named = |types: &MessageTypes, it: u32| {
            let too_many = types.single.len() + types.group.len() >= MOST_TYPES_IN_ALL;
            too_many || types.single.contains(&it) || types.group.contains(&it)
        };
        for single in &other.message_types.single {
            if !named(types, *single) {
                types.single.push(*single);
            }
        }
        for group in &other.message_types.group {
            if !named(types, *group) {
                types.group.push(*group);
            }
        }
        self
    }

    /// The same, read as proto3.
    pub fn lenient(mut self) -> Self {
        self.definition.syntax = Some(Syntax::Proto3);
        self.open = true;
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// As TOML, complete: [`parse`](Self::parse) makes the same of it.
    pub fn definition(&self) -> String {
        self.definition.text()
    }

    /// Which command has this id, of those that TeamTalk has too.
    pub fn command(&self, id: u16) -> Option<Command> {
        match self.meaning(id)? {
            Meaning::Command(command) => Some(*command),
            Meaning::Extra(_) => None,
        }
    }

    /// The id of a command, if there is such a command.
    pub fn id(&self, command: Command) -> Option<u16> {
        Some(self.ids[command as usize]).filter(|id| *id != 0)
    }

    /// The class of a client type, if there is such a type.
    pub fn class(&self, client_type: u32) -> Option<Class> {
        let known = self.client_types.get(client_type as usize)?;
        known.or_else(|| self.open.then(|| default_class(client_type)))
    }

    /// A message of this type is for a group.
    pub fn is_of_group(&self, message_type: u32) -> bool {
        let types = &self.message_types;
        types.group.contains(&message_type)
            || (message_type & DEFAULT_BIT != 0 && !types.single.contains(&message_type))
    }

    /// MsgServers take messages of this type.
    pub fn has_message_type(&self, message_type: u32) -> bool {
        let types = &self.message_types;
        self.open || types.single.contains(&message_type) || types.group.contains(&message_type)
    }

    /// Messages say whether they are for a group beside their type.
    pub(crate) fn says_conversation(&self) -> bool {
        self.places[Message::Chat as usize][7].number != 0
    }

    /// What is missing is zero, and enums are open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn meaning(&self, id: u16) -> Option<&Meaning> {
        let place = self.meanings.binary_search_by_key(&id, |(id, _)| *id);
        place.ok().map(|place| &self.meanings[place].1)
    }

    fn new(definition: Definition) -> Result<Self, DefinitionError> {
        let name = &definition.name;
        if !route_proto::attach::is_msg_server_name(name) {
            return tables::refuse("name: 1 to 63 characters of [A-Za-z0-9._-]");
        }
        let ids = tables::ids(&definition)?;
        let places = tables::places(&definition)?;
        let dialect = Dialect {
            open: definition.syntax == Some(Syntax::Proto3),
            meanings: tables::meanings(&definition, &ids)?,
            constants: tables::constants(&definition, &places)?,
            places,
            client_types: tables::client_types(&definition)?,
            message_types: tables::message_types(&definition)?,
            ids,
            definition,
        };
        dialect.check_defaults()?;
        Ok(dialect)
    }
}

/// Reading and writing.
impl Dialect {
    /// What a field is without being there must be something that it could be.
    fn check_defaults(&self) -> Result<(), DefinitionError> {
        for (message, places) in self.places.iter().enumerate() {
            for (stands, (name, _, kind)) in places.iter().zip(fields_at(message)) {
                let is_absent = stands.number == 0 && *kind != Kind::OptionalNumber;
                let default = stands.default.or_else(|| is_absent.then_some(0));
                let is_valid = default.is_none_or(|default| self.is_valid(*kind, default));
                if !is_valid {
                    let message = Message::names().nth(message).unwrap_or_default();
                    return tables::refuse(format!(
                        "fields.{message}.{name} needs a default that is a value of it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads one message; hands each value of a repeated field to `repeated`, with the field's place.
    pub(crate) fn read<'m>(
        &self,
        message: Message,
        bytes: &'m [u8],
        mut repeated: impl FnMut(usize, Value<'m>) -> Result<(), BodyError>,
    ) -> Result<Read<'m>, BodyError> {
        let fields = message.fields();
        let places = &self.places[message as usize];
        let mut read = Read {
            numbers: [0; MAX_FIELDS],
            texts: [&[]; MAX_FIELDS],
        };
        let (mut present, mut invalid) = (0_u32, 0_u32);
        for field in Fields::new(bytes) {
            let (number, value) = field?;
            let place = places.iter().position(|it| it.number == number);
            let Some(place) = place.filter(|_| number != 0) else {
                continue;
            };
            match (fields[place].2, value) {
                (Kind::Repeated, value) => repeated(place, value)?,
                (Kind::Text | Kind::OptionalText, Value::Bytes(text)) => read.texts[place] = text,
                (Kind::Text | Kind::OptionalText, _) | (_, Value::Bytes(_) | Value::Skipped) => {
                    // Another wire type: an unknown field.
                    continue;
                }
                (kind, Value::Varint(value)) => {
                    let value = wire::low32(value);
                    if !self.is_valid(kind, value) {
                        invalid |= 1 << place;
                        if kind == Kind::MessageType && present & 1 << place == 0 {
                            read.numbers[place] = value;
                        }
                        continue;
                    }
                    read.numbers[place] = value;
                }
            }
            present |= 1 << place;
        }
        for (place, (name, _, kind)) in fields.iter().enumerate() {
            if present & 1 << place != 0 {
                continue;
            }
            let optional = matches!(
                kind,
                Kind::Repeated | Kind::OptionalText | Kind::OptionalNumber
            );
            let stands = places[place];
            match stands.default {
                Some(default) => read.numbers[place] = default,
                None if optional || self.open || stands.number == 0 => {}
                None if invalid & 1 << place != 0 && *kind == Kind::MessageType => {}
                None if invalid & 1 << place != 0 => return Err(BodyError::Value(name)),
                None => return Err(BodyError::Missing(name)),
            }
        }
        Ok(read)
    }

    /// The value can stand in such a field.
    fn is_valid(&self, kind: Kind, value: u32) -> bool {
        match kind {
            Kind::UpTo(last) => self.open || (1..=last).contains(&value),
            Kind::ClientType => self.class(value).is_some(),
            Kind::MessageType => self.has_message_type(value),
            Kind::Number
            | Kind::Text
            | Kind::OptionalText
            | Kind::OptionalNumber
            | Kind::Repeated => true,
        }
    }

    /// Writes each body byte for byte as the other one does.
    pub(crate) fn writes_like(&self, other: &Dialect) -> bool {
        let numbers = |dialect: &Dialect| dialect.places.map(|message| message.map(|it| it.number));
        self.ids == other.ids
            && numbers(self) == numbers(other)
            && self.constants == other.constants
    }

    /// Appends a number, where this dialect has the field.
    pub(crate) fn put_number(&self, out: &mut Vec<u8>, message: Message, place: usize, value: u32) {
        let number = self.places[message as usize][place].number;
        if number != 0 {
            wire::put_number(out, number, value);
        }
    }

    /// Appends a message that `body` writes, where this dialect has the field.
    pub(crate) fn put_message(
        &self,
        out: &mut Vec<u8>,
        message: Message,
        place: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let number = self.places[message as usize][place].number;
        if number != 0 {
            wire::put_message(out, number, body);
        }
    }

    /// Appends text or bytes, where this dialect has the field.
    pub(crate) fn put_bytes(
        &self,
        out: &mut Vec<u8>,
        message: Message,
        place: usize,
        value: &[u8],
    ) {
        let number = self.places[message as usize][place].number;
        if number != 0 {
            wire::put_bytes(out, number, value);
        }
    }

    /// Appends what else such a message has to have here.
    pub(crate) fn put_constants(&self, out: &mut Vec<u8>, message: Message) {
        out.extend_from_slice(&self.constants[message as usize]);
    }

    /// Appends a whole PDU whose body is written by `body`. False, and nothing is appended, if this dialect has no such
    /// command.
    pub(crate) fn put_pdu(
        &self,
        out: &mut Vec<u8>,
        command: Command,
        sequence: u16,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(id) = self.id(command) else {
            return false;
        };
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        body(out);
        let header = Header {
            // Forks keep the service of a command to which they give another id.
            service: command.standard_id() >> 8,
            ..Header::new(id, sequence, out.len() - start - HEADER_LEN)
        };
        out[start..start + HEADER_LEN].copy_from_slice(&header.write());
        true
    }
}

fn default_class(client_type: u32) -> Class {
    if client_type & DEFAULT_BIT == 0 {
        Class::Desktop
    } else {
        Class::Mobile
    }
}
