//! Commands over plain data keys, which `batch` and `transactions` share.
//!
//! A data key is the caller's own: `lockstep-data:{space}:<key>`. No key of the service has that
//! prefix, so a caller can never reach one. [`read_commands`] turns what a caller sent into checked
//! [`DataCommand`]s, whose scripts run them as commands of Redis, and [`DataResult`] is what the
//! caller is answered for each of them.

pub mod codes;
mod command;
mod input;
mod result;

pub use codes::CODES;
pub use command::{DataCommand, DataCommandType};
pub use input::{DataCommandInput, Encoding, read_commands};
pub use result::{CommandReply, CommandStatus, DataFailure, DataResult};

/// The most bytes of values that one call reads. A read starts while less than this has been read, so
/// that the total can exceed it by one value.
pub const READ_BUDGET: usize = 4 * 1024 * 1024;
