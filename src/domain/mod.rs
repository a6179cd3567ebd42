//! The rules of selling on a point of sale. Pure: nothing here reads a clock, does IO or waits, so that the rules can
//! run a million times in a test.

pub mod access;
pub mod account;
pub mod command;
pub mod decide;
pub mod evolve;
pub mod extras;
pub mod hint;
pub mod id;
pub mod money;
pub mod order;
pub mod payment;
pub mod pos;
pub mod posted;
mod settle;
pub mod text;

#[cfg(test)]
pub(crate) mod tests;
