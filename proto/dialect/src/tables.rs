//! What a definition says, as tables; and what it cannot say.

use std::fmt::Display;

use crate::command::Command;
use crate::definition::{Audience, Constant, Definition, DefinitionError, MessageTypes, Place};
use crate::fields::{Kind, MAX_FIELDS, MESSAGES, Message, fields_at};
use crate::wire;

/// Field numbers are smaller than this.
const FIELD_NUMBERS: u32 = 1 << 29;

/// What a command id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// One that TeamTalk has too.
    Command(Command),
    /// One that only this dialect has.
    Extra(Audience),
}

/// Two classes of clients: MsgServers treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Seen by others as online.
    Desktop,
    /// Not seen.
    Mobile,
}

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stands {
    /// 0: nowhere.
    pub(crate) number: u32,
    /// What it is if it is not there.
    pub(crate) default: Option<u32>,
}

/// The id of each command; 0 if there is none.
pub(crate) fn ids(definition: &Definition) -> Result<[u16; Command::COUNT], DefinitionError> {
    let mut ids = [0; Command::COUNT];
    for command in Command::all() {
        ids[command as usize] = command.standard_id();
    }
    for (name, id) in &definition.commands {
        let Some(command) = Command::all().find(|command| command.name() == name) else {
            let names: Vec<_> = Command::all().map(Command::name).collect();
            return refuse(format!(
                "commands: {name:?} is none of {}",
                names.join(", ")
            ));
        };
        ids[command as usize] = *id;
    }
    if ids[Command::Heartbeat as usize] == 0 {
        return refuse("commands: there is no MsgServer without heartbeat");
    }
    Ok(ids)
}

/// What each id stands for, in order.
pub(crate) fn meanings(
    definition: &Definition,
    ids: &[u16; Command::COUNT],
) -> Result<Vec<(u16, Meaning)>, DefinitionError> {
    let mut meanings: Vec<_> = Command::all()
        .map(|command| (ids[command as usize], Meaning::Command(command)))
        .filter(|(id, _)| *id != 0)
        .collect();
    for (id, audience) in &definition.forward {
        let id = match u16::try_from(id.0) {
            Ok(id) if id != 0 => id,
            _ => return refuse(format!("forward: {id} is no command id")),
        };
        if let Audience::Users(fields) = audience {
            if fields.is_empty() {
                return refuse(format!("forward: {id:#06x} names no field of users"));
            }
            fields.iter().try_for_each(|number| {
                check_field_number(*number, format_args!("forward: {id:#06x}"))
            })?;
        }
        if *audience != Audience::Nobody {
            meanings.push((id, Meaning::Extra(audience.clone())));
        } else if let Some((_, Meaning::Command(command))) =
            meanings.iter().find(|(known, _)| *known == id)
        {
            let name = command.name();
            return refuse(format!(
                "forward: {id:#06x} is {name}; 0 in commands takes it out"
            ));
        }
    }
    meanings.sort_by_key(|(id, _)| *id);
    for pair in meanings.windows(2) {
        if pair[0].0 == pair[1].0 {
            return refuse(format!("{:#06x} stands for two commands", pair[0].0));
        }
    }
    Ok(meanings)
}

/// Where each field stands, by message.
pub(crate) fn places(
    definition: &Definition,
) -> Result<[[Stands; MAX_FIELDS]; MESSAGES], DefinitionError> {
    let mut places = [[Stands::default(); MAX_FIELDS]; MESSAGES];
    for (message, places) in places.iter_mut().enumerate() {
        for (place, (_, number, _)) in fields_at(message).iter().enumerate() {
            places[place].number = *number;
        }
    }
    for (message, fields) in &definition.fields {
        let at = message_named("fields", message)?;
        for (name, place) in fields {
            let known = fields_at(at);
            let Some(index) = known.iter().position(|(known, ..)| known == name) else {
                let names: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
                let names = names.join(", ");
                return refuse(format!("fields.{message}: {name:?} is none of {names}"));
            };
            let stands = match *place {
                Place::Number(number) => Stands {
                    number,
                    default: None,
                },
                Place::Full(place) => Stands {
                    number: place.number,
                    default: place.default,
                },
            };
            let kind = known[index].2;
            let text = matches!(kind, Kind::Text | Kind::OptionalText | Kind::Repeated);
            if stands.default.is_some() && text {
                return refuse(format!("fields.{message}.{name} can have no default"));
            }
            if stands.number >= FIELD_NUMBERS {
                return refuse(format!("fields.{message}.{name} is no field number"));
            }
            places[at][index] = stands;
        }
        let mut numbers: Vec<_> = places[at].iter().map(|it| it.number).collect();
        numbers.retain(|number| *number != 0);
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse(format!("fields.{message}: two fields have one number"));
        }
    }
    Ok(places)
}

/// What is appended to each message, encoded.
pub(crate) fn constants(
    definition: &Definition,
    places: &[[Stands; MAX_FIELDS]; MESSAGES],
) -> Result<[Vec<u8>; MESSAGES], DefinitionError> {
    let mut written = [const { Vec::new() }; MESSAGES];
    for (message, constants) in &definition.constants {
        let at = message_named("constants", message)?;
        let out = &mut written[at];
        for (number, constant) in constants {
            check_field_number(number.0, format_args!("constants.{message}"))?;
            let meant = places[at].iter().position(|it| it.number == number.0);
            if let Some((name, ..)) = meant.and_then(|place| fields_at(at).get(place)) {
                return refuse(format!("constants.{message}: {number} stands for {name}"));
            }
            match constant {
                Constant::Number(value) => wire::put_number(out, number.0, *value),
                Constant::Text(text) => wire::put_bytes(out, number.0, text.as_bytes()),
            }
        }
    }
    Ok(written)
}

/// The class of each client type.
pub(crate) fn client_types(
    definition: &Definition,
) -> Result<[Option<Class>; 256], DefinitionError> {
    let Some(types) = &definition.client_types else {
        return refuse("client_types: are missing; or name a base");
    };
    let mut classes = [None; 256];
    let desktop = types.desktop.iter().map(|it| (it, Class::Desktop));
    let mobile = types.mobile.iter().map(|it| (it, Class::Mobile));
    for (client_type, class) in desktop.chain(mobile) {
        let known = classes[usize::from(*client_type)].replace(class);
        if known.is_some() {
            return refuse(format!("client_types: {client_type:#04x} stands twice"));
        }
    }
    Ok(classes)
}

/// The types of messages.
pub(crate) fn message_types(definition: &Definition) -> Result<MessageTypes, DefinitionError> {
    let types = definition.message_types.clone().unwrap_or_default();
    if let Some(twice) = types.single.iter().find(|it| types.group.contains(it)) {
        return refuse(format!(
            "message_types: {twice:#04x} is both single and group"
        ));
    }
    Ok(types)
}

fn message_named(table: &str, name: &str) -> Result<usize, DefinitionError> {
    Message::named(name).map_or_else(
        || {
            let names: Vec<_> = Message::names().collect();
            refuse(format!("{table}: {name:?} is none of {}", names.join(", ")))
        },
        Ok,
    )
}

fn check_field_number(number: u32, whose: impl Display) -> Result<(), DefinitionError> {
    if (1..FIELD_NUMBERS).contains(&number) {
        return Ok(());
    }
    refuse(format!("{whose}: {number} is no field number"))
}

/// A definition that says this.
pub(crate) fn refuse<T>(problem: impl Display) -> Result<T, DefinitionError> {
    Err(DefinitionError::Contents(problem.to_string()))
}
