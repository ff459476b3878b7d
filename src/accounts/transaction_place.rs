//! The place of a transaction in Redis: a field of the hash that has the transactions of one second. Every
//! operation that makes or reads a transaction binds it.

use crate::{store::GeneratedId, types::Id};

/// The kind of the hash's key: `lockstep:{space}:transactions:<second>`.
pub const TRANSACTIONS: &str = "transactions";

/// The hash and the field of a transaction, both derived from its id.
pub struct TransactionPlace {
    /// The second since 1970 at which the id was generated.
    pub second: u64,
    /// The bytes of the UUID. An id that the service cannot have generated has a field that does not exist.
    pub field: Vec<u8>,
}

impl From<GeneratedId> for TransactionPlace {
    fn from(id: GeneratedId) -> TransactionPlace {
        TransactionPlace::of(id.bytes())
    }
}

impl From<&Id> for TransactionPlace {
    fn from(id: &Id) -> TransactionPlace {
        match GeneratedId::bytes_of(id, "tx_") {
            Some(bytes) => TransactionPlace::of(bytes),
            None => TransactionPlace { second: 0, field: id.as_str().as_bytes().to_vec() },
        }
    }
}

impl TransactionPlace {
    /// The first 48 bits of a UUIDv7 (RFC 9562) are its milliseconds since 1970.
    fn of(bytes: [u8; 16]) -> TransactionPlace {
        let ms = bytes[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte));
        TransactionPlace { second: ms / 1000, field: bytes.to_vec() }
    }
}

/// The id of the transaction in a field of a hash; `None` where the field is none that an id leads to.
pub fn transaction_id_of(field: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = field.try_into().ok()?;
    Some(format!("tx_{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_second_and_its_bytes() {
        let generated = GeneratedId::new("tx_");
        let id = Id::try_from(generated.to_string()).unwrap();
        let (one, other) = (TransactionPlace::from(generated), TransactionPlace::from(&id));
        assert_eq!((one.second, &one.field), (other.second, &other.field));
        assert_eq!(one.field.len(), 16);
        assert_eq!(transaction_id_of(&one.field).as_deref(), Some(id.as_str()));
        let id = Id::try_from("tx_0199f6c28f7a7c319d4e52a1b7f0c6aa".to_owned()).unwrap();
        assert_eq!(TransactionPlace::from(&id).second, 0x0199_f6c2_8f7a / 1000);
    }

    #[test]
    fn an_id_that_was_never_generated_leads_nowhere() {
        for text in
            ["tx_", "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa", "tx_0199F6C28F7A7C319D4E52A1B7F0C6AA"]
        {
            let place = TransactionPlace::from(&Id::try_from(text.to_owned()).unwrap());
            assert_eq!((place.second, place.field.as_slice()), (0, text.as_bytes()));
        }
    }
}
