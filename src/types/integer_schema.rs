//! The OpenAPI schema of whole numbers in a range.

use std::ops::RangeInclusive;

use utoipa::{
    Number,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema},
};

/// A whole number within `range`. `utoipa` takes only literals in its attributes, so a type whose
/// range is a constant of [`super::limits`] builds its schema with this.
pub(super) fn integer_schema(
    description: &str,
    range: RangeInclusive<i64>,
    example: i64,
) -> RefOr<Schema> {
    let (least, most) = range.into_inner();
    ObjectBuilder::new()
        .schema_type(schema::Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(description))
        .minimum(Some(Number::Int(least as isize)))
        .maximum(Some(Number::Int(most as isize)))
        .examples([example])
        .build()
        .into()
}
