//! Which of several servers has a series: that of the value of one of its tags, by rendezvous hashing. Pure.
//!
//! Every agent of every version gives a value to the same server, whatever the order of the servers. With one more server, its
//! share is all that moves, and with one less, only what that one had.

use std::sync::Arc;

use crate::options::OptionError;

/// Servers that share series among them, by the value of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    tag: String,
    /// The servers' URLs, without secrets.
    servers: Arc<[String]>,
}

impl Shards {
    /// `None` where lines are not shared out: the option is empty.
    ///
    /// # Errors
    /// Two servers cannot be told apart.
    pub(super) fn new(
        shard_by: &str,
        servers: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, OptionError> {
        if shard_by.is_empty() {
            return Ok(None);
        }
        let servers: Arc<[String]> = servers.collect();
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = servers.iter().find(|server| !seen.insert(*server)) {
            let what = format!("has {twice} more than once, and `shard_by` shares series out by URL");
            return Err(OptionError::new("urls", what));
        }
        Ok(Some(Self { tag: shard_by.to_owned(), servers }))
    }

    /// The tag's key.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// How many servers there are.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The server of a value: the one whose score with it is the highest. Points without the tag have the empty value.
    pub(super) fn server(&self, value: &str) -> Option<&str> {
        self.servers.iter().max_by_key(|server| (score(server, value), *server)).map(String::as_str)
    }

    /// The number of a server in `urls`.
    pub(super) fn position(&self, server: &str) -> Option<usize> {
        self.servers.iter().position(|other| other == server)
    }
}

/// What is said of a choice among one.
pub(super) fn remark(shard_by: &str, urls: &[String]) -> Option<OptionError> {
    let what = "has no effect with one server: name those that share the series in `urls`, or remove it";
    (!shard_by.is_empty() && urls.len() < 2).then(|| OptionError::new("shard_by", what))
}

/// FNV-1a, 64 bits, of the server's URL, a zero byte and the value; mixed, since similar texts have similar sums, by the
/// last steps of MurmurHash3. Sources: <http://www.isthe.com/chongo/tech/comp/fnv/>,
/// <https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp> (`fmix64`).
fn score(server: &str, value: &str) -> u64 {
    let bytes = server.bytes().chain([0]).chain(value.bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(n: usize) -> Shards {
        let servers = (0..n).map(|n| format!("http://influx-{n}:8086/"));
        Shards::new("host", servers).unwrap().unwrap()
    }

    fn values() -> impl Iterator<Item = String> {
        (0..10_000).map(|n| format!("node-{n}.example"))
    }

    #[test]
    fn a_value_has_the_same_server_in_every_version() {
        let four = shards(4);
        let servers = ["", "a", "b", "node-1", "node-2", "größe"].map(|value| four.server(value).unwrap());
        let numbers = servers.map(|server| four.position(server).unwrap());
        assert_eq!(numbers, [2, 2, 0, 2, 3, 0]);
        assert_eq!(score("http://influx-0:8086/", "a"), 0x5445_18ef_628b_d3b6);
        let reversed = Shards::new("host", four.servers.iter().rev().cloned()).unwrap().unwrap();
        assert!(values().all(|value| reversed.server(&value) == four.server(&value)), "whatever their order");
    }

    #[test]
    fn shares_are_even() {
        let (four, mut counts) = (shards(4), [0; 4]);
        for value in values() {
            counts[four.position(four.server(&value).unwrap()).unwrap()] += 1;
        }
        assert!(counts.iter().all(|n| (2_350..2_650).contains(n)), "{counts:?}");
    }

    #[test]
    fn one_more_server_takes_its_share_and_moves_nothing_else() {
        let (four, five) = (shards(4), shards(5));
        let moved: Vec<String> = values().filter(|value| four.server(value) != five.server(value)).collect();
        assert!(moved.iter().all(|value| five.server(value) == Some("http://influx-4:8086/")));
        assert!((1_850..2_150).contains(&moved.len()), "{}", moved.len());
    }

    #[test]
    fn two_servers_of_one_url_are_refused() {
        assert!(Shards::new("", ["a".into(), "a".into()].into_iter()).unwrap().is_none());
        let error = Shards::new("host", ["a".into(), "b".into(), "a".into()].into_iter()).unwrap_err();
        assert!(error.to_string().starts_with("`urls`: has a more than once"), "{error}");
    }
}
