mod add_product;
mod adjust;
mod get_product;
mod get_reservation;
mod reserve;
