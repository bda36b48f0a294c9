//! The lists of a point, whose memory goes round: a gather makes thousands of points, and the output that encodes them drops
//! them soon after.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// So many lists of a kind are kept for the next points; what a gather has beyond that is allocated each time.
const MAX_SPARE: usize = 8_192;
/// A list that is longer is not kept.
const MAX_CAPACITY: usize = 32;

/// The memory of lists that were dropped.
pub struct Spare<T>(Mutex<Vec<Vec<T>>>);

impl<T> Spare<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, list: Vec<T>) {
        if (1..=MAX_CAPACITY).contains(&list.capacity()) {
            let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < MAX_SPARE {
                spare.push(list);
            }
        }
    }
}

/// What lists are of.
pub trait Entry: Sized + 'static {
    /// The lists that were dropped.
    fn spare() -> &'static Spare<Self>;
}

/// A vector in memory that one before it had.
pub struct List<T: Entry>(Vec<T>);

impl<T: Entry> List<T> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(T::spare().take())
    }
}

impl<T: Entry> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Entry> Drop for List<T> {
    fn drop(&mut self) {
        let mut list = std::mem::take(&mut self.0);
        list.clear();
        T::spare().put(list);
    }
}

impl<T: Entry> Deref for List<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Entry> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Entry> From<Vec<T>> for List<T> {
    fn from(list: Vec<T>) -> Self {
        Self(list)
    }
}

impl<T: Entry> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut list = Self::new();
        list.extend(entries);
        list
    }
}

impl<T: Entry> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.0).into_iter()
    }
}

impl<'a, T: Entry> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T: Entry> IntoIterator for &'a mut List<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

impl<T: Entry + Clone> Clone for List<T> {
    fn clone(&self) -> Self {
        self.iter().cloned().collect()
    }
}

impl<T: Entry + PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Entry + PartialEq, const N: usize> PartialEq<[T; N]> for List<T> {
    fn eq(&self, other: &[T; N]) -> bool {
        self.0 == other
    }
}

impl<T: Entry + Hash> Hash for List<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Entry + fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for u8 {
        fn spare() -> &'static Spare<Self> {
            static SPARE: Spare<u8> = Spare::new();
            &SPARE
        }
    }

    #[test]
    fn memory_goes_round_and_not_without_bound() {
        let spare = Spare::new();
        assert_eq!(spare.take().capacity(), 0, "nothing was dropped yet");
        spare.put(Vec::<u8>::with_capacity(9));
        assert_eq!((spare.take().capacity(), spare.take().capacity()), (9, 0));
        spare.put(Vec::with_capacity(MAX_CAPACITY + 1));
        spare.put(Vec::new());
        assert_eq!(spare.take().capacity(), 0, "too long, and nothing at all");
        (0..=MAX_SPARE).for_each(|_| spare.put(Vec::with_capacity(1)));
        assert_eq!(spare.0.lock().unwrap().len(), MAX_SPARE);
    }

    #[test]
    fn is_as_a_vector() {
        let mut list: List<u8> = (0..3).collect();
        list.retain(|n| *n != 1);
        assert_eq!(list, [0, 2]);
        assert_eq!((list.clone(), format!("{list:?}")), (vec![0, 2].into(), "[0, 2]".to_owned()));
        assert_eq!(list.into_iter().count(), 2);
    }
}
