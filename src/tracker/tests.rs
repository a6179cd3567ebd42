//! What holds of the room as a whole.

mod simulator;
