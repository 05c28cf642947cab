//! What services that follow over the API are told, and whether that fits together.

pub(crate) mod archive;
pub(crate) mod diary;
