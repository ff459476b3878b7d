//! The text of a caller's key: `lsk_<id>_<secret>`, 12 and 38 characters of base62. The last six characters are a
//! checksum of all others, so that a typo is known without a look at any key. `keys` makes them, [`super::KeyRing`]
//! compares them.

use std::fmt;

use flate2::Crc;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const PREFIX: &str = "lsk_";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 38;
const CHECKSUM_LENGTH: usize = 6;
const LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH;

/// A new key, which is shown once. Only its id and its [`KeyDigest`] are kept.
pub struct CallerKey(String);

impl CallerKey {
    /// Makes a key of the random numbers of the operating system.
    ///
    /// # Errors
    ///
    /// The sentence that says why there are none.
    pub fn generate() -> Result<CallerKey, String> {
        let mut text = PREFIX.to_owned();
        push_random(&mut text, ID_LENGTH)?;
        CallerKey::with_secret(text)
    }

    /// Makes another key with this id.
    ///
    /// # Errors
    ///
    /// The sentence that says why there are no random numbers.
    pub fn generate_for(id: &str) -> Result<CallerKey, String> {
        CallerKey::with_secret(format!("{PREFIX}{id}"))
    }

    fn with_secret(mut text: String) -> Result<CallerKey, String> {
        text.push('_');
        push_random(&mut text, SECRET_LENGTH - CHECKSUM_LENGTH)?;
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(CallerKey(text))
    }

    /// The key as its caller sends it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The id, which is no secret.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_LENGTH]
    }

    /// The digest that is kept of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }
}

/// Appends characters of base62, each of them equally likely.
fn push_random(text: &mut String, length: usize) -> Result<(), String> {
    let wanted = text.len() + length;
    let mut bytes = [0; 64];
    while text.len() < wanted {
        getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
        // 248 is 4 times 62: from there on some characters would be more likely than others.
        let digits =
            bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[*byte as usize % 62]);
        text.extend(digits.take(wanted - text.len()).map(char::from));
    }
    Ok(())
}

/// The CRC-32 of a text as six characters of base62. It tells every change of up to 32 bits in a row, so every other
/// character and every two that have changed places.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut crc = Crc::new();
    crc.update(text);
    let mut rest = crc.sum();
    let mut digits = [0; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest as usize % 62];
        rest /= 62;
    }
    digits
}

/// A text that has the form of a key, and whose checksum is right.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a>(&'a str);

impl<'a> PresentedKey<'a> {
    /// Reads a key; `None` for anything else.
    pub fn read(text: &'a str) -> Option<PresentedKey<'a>> {
        let rest = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH)?.as_bytes();
        let is_base62 = |part: &[u8]| part.iter().all(u8::is_ascii_alphanumeric);
        let (id, secret) = rest.split_at(ID_LENGTH);
        let in_form = secret[0] == b'_' && is_base62(id) && is_base62(&secret[1..]);
        let (checked, sum) = text.split_at_checked(LENGTH - CHECKSUM_LENGTH)?;
        (in_form && checksum(checked.as_bytes()) == sum.as_bytes()).then_some(PresentedKey(text))
    }

    /// The id of the key.
    pub fn id(self) -> &'a str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_LENGTH]
    }

    /// The digest that is kept of the key if it is the right one.
    pub fn digest(self) -> KeyDigest {
        KeyDigest::of(self.0)
    }
}

/// The SHA-256 of a key. A key has 190 random bits, so that nobody finds it by its digest.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(text: &str) -> KeyDigest {
        KeyDigest(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// The sentence that says what a digest is.
    pub fn from_hex(text: &str) -> Result<KeyDigest, String> {
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let in_form = text.len() == 64 && text.bytes().all(|byte| digit(byte).is_some());
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let value =
                digit(pair[0]).unwrap_or_default() * 16 + digit(pair[1]).unwrap_or_default();
            *byte = u8::try_from(value).unwrap_or_default();
        }
        in_form
            .then_some(KeyDigest(bytes))
            .ok_or_else(|| "a SHA-256 is 64 hexadecimal digits".to_owned())
    }

    /// Compares two digests in a time that does not depend on where they differ.
    pub fn matches(&self, other: &KeyDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_key_is_read_again() {
        for _ in 0..200 {
            let key = CallerKey::generate().unwrap();
            assert_eq!(key.text().len(), 55);
            let read = PresentedKey::read(key.text()).unwrap();
            assert_eq!(read.id(), key.id());
            assert!(read.digest().matches(&key.digest()));
            let other = CallerKey::generate_for(key.id()).unwrap();
            assert_eq!(other.id(), key.id());
            assert!(!other.digest().matches(&key.digest()));
            let hexadecimal = key.digest().to_string();
            assert!(KeyDigest::from_hex(&hexadecimal).unwrap().matches(&key.digest()));
        }
    }

    /// The digest is that of `printf %s KEY | sha256sum`.
    #[test]
    fn a_digest_is_that_of_the_whole_text() {
        let digest = KeyDigest::of("abc").to_string();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        for bad in ["", "0", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert!(KeyDigest::from_hex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_character_occurs() {
        let mut text = String::new();
        push_random(&mut text, 20_000).unwrap();
        for letter in ALPHABET {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!((150..550).contains(&count), "{} occurs {count} times", char::from(*letter));
        }
    }

    proptest! {
        /// Every key with one other character, and every one with two neighbours exchanged, is refused.
        #[test]
        fn a_typo_is_known(at in 0..LENGTH, letter in 33_u8..127) {
            let key = CallerKey::generate().unwrap();
            let mut bytes = key.text().as_bytes().to_vec();
            if bytes[at] != letter {
                bytes[at] = letter;
                prop_assert!(PresentedKey::read(std::str::from_utf8(&bytes).unwrap()).is_none());
            }
            let mut bytes = key.text().as_bytes().to_vec();
            let next = (at + 1) % LENGTH;
            if bytes[at] != bytes[next] {
                bytes.swap(at, next);
                prop_assert!(PresentedKey::read(std::str::from_utf8(&bytes).unwrap()).is_none());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(lsk_)?[a-zA-Z0-9_é]{0,60}") {
            let _ = PresentedKey::read(&text);
        }
    }
}
