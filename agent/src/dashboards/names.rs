//! What the schema says of names, and names that files have to have. Pure.

use super::board::{Board, Choice};
use crate::schema::{MEASUREMENTS, Measurement};
use crate::uuid::uuid;

/// The measurement of this name.
pub(super) fn measurement(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(|measurement| measurement.name == name)
}

/// Whether points of a measurement can have a tag; global ones are everybody's.
pub(super) fn has_tag(name: &str, tag: &str) -> bool {
    let own = |measurement: &Measurement| measurement.tags.iter().any(|own| own.name == tag);
    matches!(tag, "env" | "host") || measurement(name).is_some_and(own)
}

/// The choices of a board that concern a measurement.
pub(super) fn chosen(board: &Board, measurement: &str) -> impl Iterator<Item = &'static Choice> {
    board.choices.iter().filter(move |choice| has_tag(measurement, choice.tag))
}

/// An id in the form of a UUID, always the same for the same text.
pub(super) fn id(text: &str) -> String {
    // FNV-1a, of 64 bits, twice.
    let hash = |start: u64| {
        text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    };
    uuid(hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142))
}
