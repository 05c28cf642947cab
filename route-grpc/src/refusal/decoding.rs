//! Where in a request something stands that cannot be read, by what prost says of it.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;
use route_proto::FILE_DESCRIPTOR_SET;

/// The fields of oneofs, by message, oneof, and message of the field. prost names the oneof.
static CHOICES: LazyLock<HashMap<[String; 3], String>> = LazyLock::new(|| {
    // It is part of the program, and the tests of refusals read it.
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let messages = set.file.iter().flat_map(|file| &file.message_type);
    let mut choices = HashMap::new();
    for message in messages {
        for field in &message.field {
            let number = field.oneof_index.and_then(|it| usize::try_from(it).ok());
            if let Some(oneof) = number.and_then(|it| message.oneof_decl.get(it)) {
                let (_, inner) = field.type_name().rsplit_once('.').unwrap_or_default();
                let place = [message.name(), oneof.name(), inner].map(str::to_owned);
                choices.insert(place, field.name().to_owned());
            }
        }
    }
    choices
});

/// The field, and what is wrong with it. `told` begins with where it is, the innermost first: "Event.body: PublishRequest.event: …".
pub(super) fn field(told: &str) -> (String, &str) {
    let mut path = Vec::new();
    let mut rest = told;
    let mut inner = "";
    while let Some((place, behind)) = rest.split_once(": ")
        && let Some((message, field)) = place.split_once('.')
        && !message.contains(' ')
    {
        let choice = CHOICES.get(&[message, field, inner].map(str::to_owned));
        path.push(choice.map_or(field, String::as_str));
        (inner, rest) = (message, behind);
    }
    path.reverse();
    match path.is_empty() {
        true => ("request".to_owned(), rest),
        false => (path.join("."), rest),
    }
}
