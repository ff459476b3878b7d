mod balance;
mod deposit;
mod get;
mod open;
mod transactions;
mod transfer;
mod withdraw;
