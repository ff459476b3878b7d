mod acquire;
mod get;
mod release;
mod renew;
