//! The model of the written rules beside what was recorded of the C++ server, and beside the core.

mod core;
mod recordings;
