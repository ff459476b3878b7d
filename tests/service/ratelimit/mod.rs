mod check;
mod model;
