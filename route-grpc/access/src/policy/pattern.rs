/// A text, or how a text begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exactly(String),
    /// This and at least one character more.
    Begins(String),
}

impl Pattern {
    /// A `*` at the end stands for the rest. One elsewhere is an error.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (start, rest) = text
            .strip_suffix('*')
            .map_or((text, false), |start| (start, true));
        if start.contains('*') {
            return Err("`*` may only be its last character");
        }
        Ok(if rest {
            Self::Begins(start.to_owned())
        } else {
            Self::Exactly(start.to_owned())
        })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exactly(whole) => text == whole,
            Self::Begins(start) => text.len() > start.len() && text.starts_with(start),
        }
    }
}
