//! Which partition has a message: as Sarama's hash partitioner does, with which Telegraf writes. Pure.
//!
//! Source: <https://github.com/IBM/sarama/blob/v1.43.3/partitioner.go> (`NewHashPartitioner`).

/// FNV-1a, 32 bits.
fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The partition of a key, of `n`. Go takes the sum for a signed number, and the remainder's sign away.
pub(super) fn of_key(key: &[u8], n: i32) -> i32 {
    (fnv_1a(key).cast_signed() % n.max(1)).wrapping_abs()
}

/// The key of a message where `routing_key` is `random`: a UUID, which is the same when the message is sent again.
pub(super) fn random_key(message: &[u8]) -> String {
    let [a, b] = [0xcbf2_9ce4_8422_2325_u64, 0x9e37_79b9_7f4a_7c15].map(|seed| {
        message.iter().fold(seed, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    });
    let (high, low) = (a.rotate_left(29) ^ b, b.rotate_left(31) ^ a);
    // The version and the variant of a random one.
    let (high, low) = ((high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62));
    let hex = format!("{high:016x}{low:016x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("", 0x811c_9dc5)]
    #[case("a", 0xe40c_292c)]
    #[case("foobar", 0xbf9c_f968)]
    fn sums_are_those_of_fnv_1a(#[case] text: &str, #[case] sum: u32) {
        assert_eq!(fnv_1a(text.as_bytes()), sum);
    }

    /// With Go: `int32(hash) % n`, and its negative where that is below 0.
    #[rstest::rstest]
    #[case("a", 4, 0)]
    #[case("foobar", 4, 0)]
    #[case("foobar", 7, 4)]
    #[case("a", 7, 6)]
    #[case("foobar", 1, 0)]
    fn partitions_are_saramas(#[case] key: &str, #[case] n: i32, #[case] partition: i32) {
        assert_eq!(of_key(key.as_bytes(), n), partition);
    }

    #[test]
    fn random_keys_are_uuids_and_those_of_one_message() {
        let keys: std::collections::BTreeSet<String> =
            (0..1_000).map(|n| random_key(format!("m f={n}i {n}\n").as_bytes())).collect();
        assert_eq!(keys.len(), 1_000);
        for key in &keys {
            assert_eq!(key.len(), 36);
            assert!(key.as_bytes()[14] == b'4' && b"89ab".contains(&key.as_bytes()[19]), "{key}");
        }
        let mut counts = [0; 4];
        keys.iter().for_each(|key| counts[of_key(key.as_bytes(), 4) as usize] += 1);
        assert!(counts.iter().all(|n| (180..320).contains(n)), "{counts:?}");
    }
}
