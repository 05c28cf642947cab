//! Definitions of dialects: TOML, as `docs/dialects.md` describes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest definition, bytes.
pub const MAX_DEFINITION: usize = 64 << 10;

/// The definitions that come with the product, by name.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("teamtalk", include_str!("../dialects/teamtalk.toml")),
    ("proto3", include_str!("../dialects/proto3.toml")),
    ("0x08xx", include_str!("../dialects/0x08xx.toml")),
];

/// A dialect as it is written down. What is left out is as in the base.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    pub(crate) name: String,
    #[serde(skip_serializing)]
    base: Option<String>,
    pub(crate) syntax: Option<Syntax>,
    pub(crate) client_types: Option<ClientTypes>,
    pub(crate) message_types: Option<MessageTypes>,
    /// Ids by name; 0 if there is no such command.
    #[serde(default)]
    pub(crate) commands: BTreeMap<String, u16>,
    /// By message and name.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, BTreeMap<String, Place>>,
    /// What else is written into messages that we make: by message and field number.
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, BTreeMap<Number, Constant>>,
    /// Other commands, by id, and who gets them.
    #[serde(default)]
    pub(crate) forward: BTreeMap<Number, Audience>,
}

/// How strict the readers of a dialect are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Syntax {
    /// Required fields, closed enums.
    Proto2,
    /// What is missing is zero; enums are open.
    Proto3,
}

/// The types of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientTypes {
    #[serde(default)]
    pub(crate) desktop: Vec<u8>,
    #[serde(default)]
    pub(crate) mobile: Vec<u8>,
}

/// The types of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageTypes {
    #[serde(default)]
    pub(crate) single: Vec<u32>,
    #[serde(default)]
    pub(crate) group: Vec<u32>,
}

/// Where a field stands: its number, or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Place {
    Number(u32),
    Full(FullPlace),
}

/// Where a field stands, and what it is if it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FullPlace {
    /// 0: it never is.
    #[serde(default)]
    pub(crate) number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<u32>,
}

/// What is written into a field that has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Constant {
    Number(u32),
    Text(String),
}

/// Who gets a command that only this fork has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    /// Nobody, though the base says otherwise.
    Nobody,
    /// All other MsgServers.
    Others,
    /// All other MsgServers that have ever sent a list or an update.
    Reporters,
    /// All MsgServers with a session, the sender's too.
    Sessions,
    /// Other MsgServers that hold a user whose id stands in one of these fields, numbers or lists of them.
    Users(Vec<u32>),
}

/// A number as a key of a table, where TOML has only text: `3`, `0x0212`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Number(pub(crate) u32);

impl TryFrom<String> for Number {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number
            .map(Number)
            .map_err(|_| format!("{text:?} is no number"))
    }
}

impl From<Number> for String {
    fn from(number: Number) -> String {
        number.to_string()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It is too long.
    #[error("a definition has at most {MAX_DEFINITION} bytes")]
    TooLong,
    /// It is no TOML, or has a key or a value that is none of a definition's.
    #[error("{0}")]
    Toml(String),
    /// What it says cannot be.
    #[error("{0}")]
    Contents(String),
}

impl Definition {
    /// Reads a definition, and adds what its base says.
    pub(crate) fn parse(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > MAX_DEFINITION {
            return Err(DefinitionError::TooLong);
        }
        let mut definition: Definition =
            toml::from_str(text).map_err(|error| DefinitionError::Toml(error.to_string()))?;
        let Some(base) = definition.base.take() else {
            return Ok(definition);
        };
        let mut whole = Self::built_in(&base).ok_or_else(|| {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            DefinitionError::Contents(format!("base: {base:?} is none of {names}"))
        })?;
        whole.amend(definition);
        Ok(whole)
    }

    /// One that comes with the product.
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(text).expect("a test reads each of them"))
    }

    /// As TOML, with everything that its base says.
    pub(crate) fn text(&self) -> String {
        toml::to_string(self).expect("tables of numbers and text are TOML")
    }

    fn amend(&mut self, by: Definition) {
        self.name = by.name;
        self.syntax = by.syntax.or(self.syntax);
        self.client_types = by.client_types.or_else(|| self.client_types.take());
        self.message_types = by.message_types.or_else(|| self.message_types.take());
        self.commands.extend(by.commands);
        self.forward.extend(by.forward);
        for (message, fields) in by.fields {
            self.fields.entry(message).or_default().extend(fields);
        }
        for (message, constants) in by.constants {
            self.constants.entry(message).or_default().extend(constants);
        }
    }
}
