//! Log2 histograms of durations, and their quantiles.

use seismograf_ebpf::abi::{BUCKETS, FIRST_BUCKET_BITS};

/// Counts by bucket; see `bucket` in the ABI for the bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Histogram {
    /// Adds a row's counts.
    pub fn add(&mut self, counts: &[u32; BUCKETS]) {
        for (sum, count) in self.0.iter_mut().zip(counts) {
            *sum += u64::from(*count);
        }
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(&other.0) {
            *sum += count;
        }
    }

    /// From the first bucket that counted any to the last: where each ends, in nanoseconds, and how many it counted.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let is_counted = |count: &u64| *count > 0;
        let first = self.0.iter().position(is_counted).unwrap_or(BUCKETS);
        let end = self.0.iter().rposition(is_counted).map_or(BUCKETS, |last| last + 1);
        (first..end).map(|index| (bounds_ns(index).1, self.0[index])).collect()
    }

    /// The duration, in nanoseconds, that a share `q` (0 to 1) of those counted does not exceed.
    ///
    /// Within a bucket they are assumed to be evenly spread, so the result is at most a factor of two off. `None` when
    /// nothing was counted.
    #[must_use]
    pub fn quantile_ns(&self, q: f64) -> Option<f64> {
        let n: u64 = self.0.iter().sum();
        if n == 0 {
            return None;
        }
        let rank = q * n as f64;
        let mut below = 0.0;
        for (index, &count) in self.0.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                let (start, end) = bounds_ns(index);
                return Some(start + (end - start) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        None
    }
}

fn bounds_ns(index: usize) -> (f64, f64) {
    let end = (1_u64 << (FIRST_BUCKET_BITS as usize + index)) as f64;
    (if index == 0 { 0.0 } else { end / 2.0 }, end)
}

#[cfg(test)]
mod tests {
    use seismograf_ebpf::abi::bucket;

    use super::*;

    #[test]
    fn quantiles_lie_in_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(0.5), None);
        let mut counts = [0; BUCKETS];
        counts[1] = 99; // 1024 to 2048 ns
        counts[10] = 1; // 524,288 to 1,048,576 ns
        histogram.add(&counts);
        let median = histogram.quantile_ns(0.5).unwrap();
        assert!((1024.0..=2048.0).contains(&median), "{median}");
        let p99 = histogram.quantile_ns(0.99).unwrap();
        assert!((1024.0..=2048.0).contains(&p99), "{p99}");
        let worst = histogram.quantile_ns(1.0).unwrap();
        assert!((524_288.0..=1_048_576.0).contains(&worst), "{worst}");
    }

    /// Whatever was measured: the quantile lies in the bucket of the sample that is the true one.
    #[test]
    fn quantiles_are_in_the_bucket_of_the_true_one() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..2_000 {
            let n = random.usize(1..300);
            let widest = random.u32(8..36);
            let mut samples: Vec<u64> =
                (0..n).map(|_| random.u64(..) >> (64 - random.u32(1..=widest))).collect();
            let mut counts = [0; BUCKETS];
            samples.iter().for_each(|ns| counts[bucket(*ns)] += 1);
            let mut histogram = Histogram::default();
            histogram.add(&counts);
            samples.sort_unstable();
            for q in [0.5, 0.99] {
                // The smallest that a share `q` of all does not exceed.
                let at = (q * n as f64).ceil() as usize - 1;
                let (start, end) = bounds_ns(bucket(samples[at]));
                let quantile = histogram.quantile_ns(q).unwrap();
                assert!(
                    (start..=end).contains(&quantile),
                    "seed {seed}, round {round}: {q} of {samples:?} is {quantile}"
                );
            }
        }
    }

    #[test]
    fn buckets_are_told_from_the_first_that_counted_to_the_last() {
        assert_eq!(Histogram::default().buckets(), []);
        let mut counts = [0; BUCKETS];
        (counts[1], counts[3]) = (7, 9);
        let mut histogram = Histogram::default();
        histogram.add(&counts);
        assert_eq!(histogram.buckets(), [(2048.0, 7), (4096.0, 0), (8192.0, 9)]);
    }

    #[test]
    fn the_last_bucket_has_an_end() {
        let mut counts = [0; BUCKETS];
        counts[BUCKETS - 1] = 1;
        let mut histogram = Histogram::default();
        histogram.add(&counts);
        assert!(histogram.quantile_ns(0.99).is_some_and(f64::is_finite));
    }
}
