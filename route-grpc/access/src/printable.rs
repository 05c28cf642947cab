/// Whether a text may stand in a log line and in a policy: ASCII from space to tilde, at least one.
pub(crate) fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
