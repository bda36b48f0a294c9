//! A name: of a measurement or a key, or a tag's value.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A text that is made once and put into many points. Up to 23 bytes stand in it, more are shared, and one of the program's own
/// is where it is, so that a clone allocates nothing.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(SmolStr);

impl Name {
    /// A copy of `text`.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(SmolStr::new(text))
    }

    /// What `text` displays as.
    pub fn of(text: fmt::Arguments<'_>) -> Self {
        let mut built = smol_str::SmolStrBuilder::new();
        // Fails only where a part of it says so.
        let _ = fmt::write(&mut built, text);
        Self(built.finish())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A text of the program: it is not copied. Another one is by [`Name::new`].
impl From<&'static str> for Name {
    fn from(text: &'static str) -> Self {
        Self(SmolStr::new_static(text))
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Cow<'_, str>> for Name {
    fn from(text: Cow<'_, str>) -> Self {
        Self(SmolStr::new(text))
    }
}

impl From<&Self> for Name {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl PartialEq<Name> for str {
    fn eq(&self, other: &Name) -> bool {
        other == self
    }
}

impl PartialEq<Name> for &str {
    fn eq(&self, other: &Name) -> bool {
        other == self
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocations::allocations;

    #[test]
    fn a_clone_allocates_nothing() {
        for text in ["", "short", "a text that is longer than what stands in a name"] {
            let name = Name::new(text);
            assert_eq!((allocations(|| name.clone()), name.as_str()), (0, text));
        }
        let of_the_program = "a text that is longer than what stands in a name";
        assert_eq!(allocations(|| Name::from(of_the_program)), 0);
    }

    #[test]
    fn is_as_its_text() {
        let (short, long) = (Name::of(format_args!("n{}", 7)), Name::new("x".repeat(40)));
        assert_eq!((&*short, format!("{short} {short:?}")), ("n7", "n7 \"n7\"".to_owned()));
        assert!(short < long && short == "n7");
        assert_eq!("n7", short);
        assert_eq!(serde_json::from_str::<Name>(&serde_json::to_string(&long).unwrap()).unwrap(), long);
    }
}
