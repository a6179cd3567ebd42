//! The rules as tables that read as sentences, and the laws that no sequence of commands may break.

mod bounds;
mod laws;
mod money;
mod rules;
pub(crate) mod world;
