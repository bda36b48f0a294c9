//! Values that are never printed, such as passwords and tokens, and that are wiped when nobody needs them any more.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroize as _;

/// A string that does not show up in logs and errors, and leaves nothing in memory.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The string itself, where it is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn wipe(&mut self) {
        self.0.zeroize();
    }

    /// Whether it is unset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// Compares what somebody said in a time that says nothing about where the difference is.
pub(crate) fn same(said: &str, expected: &str) -> bool {
    let differences = said.bytes().zip(expected.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    said.len() == expected.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wiped() {
        let mut secret = Secret::from("hunter2");
        let bytes = secret.0.as_ptr();
        secret.wipe();
        assert!(secret.is_empty());
        // SAFETY: the string is empty now and still has the memory that it had.
        let left = unsafe { std::slice::from_raw_parts(bytes, "hunter2".len()) };
        assert_eq!(left, [0; 7]);
    }

    #[test]
    fn it_does_not_print() {
        assert_eq!(format!("{:?}", Some(Secret::from("hunter2"))), "Some(\"…\")");
        assert_eq!(format!("{:?}", Secret::default()), "\"\"");
        assert_eq!(Secret::from("hunter2").expose(), "hunter2");
    }
}
