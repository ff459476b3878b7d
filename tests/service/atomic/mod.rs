mod checkout;
mod model;
mod run;
