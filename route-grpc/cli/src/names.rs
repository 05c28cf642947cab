//! Names on a command line, in any spelling: values of the API's enums, `chat-message`, `chat_message`,
//! `ChatMessage`, `CHAT_MESSAGE`, `EVENT_KIND_CHAT_MESSAGE`; and commands.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command};
use route_runtime::flags::snake_case;

/// Reads one of these values by its name.
#[derive(Debug, Clone)]
pub(crate) struct Named<E> {
    prefix: &'static str,
    values: Vec<(&'static str, E)>,
}

impl<E: TryFrom<i32> + Copy> Named<E> {
    /// All values but the unspecified one. What all their names begin with; and the name of each.
    pub(crate) fn all(prefix: &'static str, name: fn(&E) -> &'static str) -> Self {
        let numbers = 1..=i32::from(u8::MAX);
        let values = numbers.filter_map(|number| E::try_from(number).ok());
        Self {
            prefix,
            // For the parser, which lives as long as the process.
            values: values
                .map(|it| (&*short(prefix, name(&it)).leak(), it))
                .collect(),
        }
    }

    /// Only those.
    pub(crate) fn only(mut self, which: fn(&E) -> bool) -> Self {
        self.values.retain(|(_, value)| which(value));
        self
    }
}

/// As help shows it.
pub(crate) fn short(prefix: &str, text: &str) -> String {
    let name = snake_case(text).to_uppercase();
    let name = name.strip_prefix(prefix).unwrap_or(&name);
    name.to_lowercase().replace('_', "-")
}

/// Each subcommand in all spellings.
pub(crate) fn spelled(command: Command) -> Command {
    command.mut_subcommands(|it| {
        let name = it.get_name();
        let words = name.split('-').map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        });
        let camel: String = words.collect();
        let snake = Some(name.replace('-', "_")).filter(|it| *it != name);
        // For the parser, which lives as long as the process.
        let others = [Some(camel), snake].into_iter().flatten();
        let others: Vec<&'static str> = others.map(|it| &*it.leak()).collect();
        spelled(it.aliases(others))
    })
}

impl<E: Copy + Send + Sync + 'static> TypedValueParser for Named<E> {
    type Value = E;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        text: &OsStr,
    ) -> Result<E, clap::Error> {
        let names = PossibleValuesParser::new(self.values.iter().map(|(name, _)| *name));
        let text = short(self.prefix, &text.to_string_lossy());
        let name = names.parse_ref(command, arg, OsStr::new(&text))?;
        let found = self.values.iter().find(|(it, _)| *it == name);
        Ok(found.expect("it is one of them").1)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = self
            .values
            .iter()
            .map(|(name, _)| PossibleValue::new(*name));
        Some(Box::new(names))
    }
}
