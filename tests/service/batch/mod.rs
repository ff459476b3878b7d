mod get;
pub mod run;
mod set;
