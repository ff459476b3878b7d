//! The messages of Envoy's rate limit service, and the few of their fields that are used. `service` decodes and
//! encodes them.
//!
//! Names and numbers of fields are those of `envoy/service/ratelimit/v3/rls.proto` and
//! `envoy/extensions/common/ratelimit/v3/ratelimit.proto`; fields that are not here are skipped by the decoder.

use prost::{Enumeration, Message};

/// The path of the one method of the service.
pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A question: may these requests pass?
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitRequest {
    /// Set of limits that the question is about.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Limits to check.
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<RateLimitDescriptor>,
    /// Units to take where a descriptor does not say; 0 means 1.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// What describes one limit: properties of a request, in the order of the gateway's configuration.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitDescriptor {
    /// Names and values of the properties.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<DescriptorEntry>,
    /// A limit in place of the configured one.
    #[prost(message, optional, tag = "2")]
    pub limit: Option<RateLimitOverride>,
    /// Units to take, in place of those of the request; 0 means 1.
    #[prost(message, optional, tag = "3")]
    pub hits_addend: Option<u64>,
    /// True to give the units back.
    #[prost(bool, tag = "4")]
    pub is_negative_hits: bool,
}

/// A property of a request.
#[derive(Clone, PartialEq, Message)]
pub struct DescriptorEntry {
    /// Name of the property, which the gateway's configuration has.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value of the property. Bytes, because a header that a caller sends need not be UTF-8, and the call must
    /// not fail for it.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A limit that the gateway brings along. It is refused, so its fields are not read.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RateLimitOverride {}

/// The answer.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitResponse {
    /// Says whether the requests may pass.
    #[prost(enumeration = "LimitCode", tag = "1")]
    pub overall_code: i32,
    /// A status for each descriptor, in their order.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<DescriptorStatus>,
    /// Headers for the response to the gateway's caller.
    #[prost(message, repeated, tag = "3")]
    pub response_headers_to_add: Vec<ResponseHeader>,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LimitCode {
    /// Not known.
    Unknown = 0,
    /// Within the limit.
    Ok = 1,
    /// Over the limit.
    OverLimit = 2,
}

/// The state of the limit of one descriptor.
#[derive(Clone, PartialEq, Message)]
pub struct DescriptorStatus {
    /// The decision about this descriptor.
    #[prost(enumeration = "LimitCode", tag = "1")]
    pub code: i32,
    /// The limit.
    #[prost(message, optional, tag = "2")]
    pub current_limit: Option<RateLimit>,
    /// Units that are left.
    #[prost(uint32, tag = "3")]
    pub limit_remaining: u32,
    /// Time until a denied descriptor would be allowed, or until the limit is whole again.
    #[prost(message, optional, tag = "4")]
    pub duration_until_reset: Option<Duration>,
}

/// A limit in units of time.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimit {
    /// The most units in a unit of time.
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    /// The unit of time.
    #[prost(enumeration = "Unit", tag = "2")]
    pub unit: i32,
    /// Name of the limit.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Unit {
    /// None of these.
    Unknown = 0,
    /// A second.
    Second = 1,
    /// A minute.
    Minute = 2,
    /// An hour.
    Hour = 3,
    /// A day.
    Day = 4,
    /// A week.
    Week = 7,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}

/// A header and its value.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    /// Name of the header.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value of the header.
    #[prost(string, tag = "2")]
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that protoc's own encoder makes of the published definitions.
    const REQUEST: &str = "0a046564676512270a120a0b67656e657269635f6b657912036170690a0d0a047573657212\
                           05616c6963651a02080712130a0b0a04757365721203626f62120408051002\
                           1803";
    const RESPONSE: &str = "0802121308021209080a10021a03617069180422020809120208011a100a0b7265747279\
                            2d6166746572120139";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u8> = hexadecimal.bytes().collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn entry(key: &str, value: &str) -> DescriptorEntry {
        DescriptorEntry { key: key.to_owned(), value: value.as_bytes().to_vec() }
    }

    #[test]
    fn a_request_is_read_as_it_is_published() {
        let api = RateLimitDescriptor {
            entries: vec![entry("generic_key", "api"), entry("user", "alice")],
            hits_addend: Some(7),
            ..RateLimitDescriptor::default()
        };
        let own_limit = RateLimitDescriptor {
            entries: vec![entry("user", "bob")],
            limit: Some(RateLimitOverride {}),
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors: vec![api, own_limit],
            hits_addend: 3,
        };
        assert_eq!(RateLimitRequest::decode(bytes(REQUEST).as_slice()).unwrap(), request);
    }

    #[test]
    fn a_response_is_written_as_it_is_published() {
        let over = DescriptorStatus {
            code: LimitCode::OverLimit.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: 10,
                unit: Unit::Minute.into(),
                name: "api".to_owned(),
            }),
            limit_remaining: 4,
            duration_until_reset: Some(Duration { seconds: 9 }),
        };
        let ok = DescriptorStatus { code: LimitCode::Ok.into(), ..DescriptorStatus::default() };
        let header = ResponseHeader { key: "retry-after".to_owned(), value: "9".to_owned() };
        let response = RateLimitResponse {
            overall_code: LimitCode::OverLimit.into(),
            statuses: vec![over, ok],
            response_headers_to_add: vec![header],
        };
        assert_eq!(response.encode_to_vec(), bytes(RESPONSE));
    }
}
