//! proc(5) `vmstat`: counters of the memory management since boot, a line each.
//!
//! Not procfs's parser: that one copies all of the 180 lines, of which two are read here, and has signed numbers.

/// Pages that went to and came from swap space since boot; 0 where the kernel has no such line, as one without swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swapped {
    pub(crate) pages_in: u64,
    pub(crate) pages_out: u64,
}

/// The lines `pswpin` and `pswpout`.
///
/// # Errors
/// The one that has no number.
pub(crate) fn swapped(text: &str) -> Result<Swapped, &str> {
    let mut swapped = Swapped::default();
    for line in text.lines() {
        let (counter, pages) = match line.split_once(' ') {
            Some(("pswpin", pages)) => (&mut swapped.pages_in, pages),
            Some(("pswpout", pages)) => (&mut swapped.pages_out, pages),
            _ => continue,
        };
        *counter = pages.trim().parse().map_err(|_| line)?;
    }
    Ok(swapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_by_their_whole_name() {
        let text = "pgpgin 9\npswpin 3\npswpout 5\npswpinx 7\n";
        assert_eq!(swapped(text), Ok(Swapped { pages_in: 3, pages_out: 5 }));
        assert_eq!(swapped("nr_free_pages 1\n"), Ok(Swapped::default()));
        assert_eq!(swapped("pswpin many\npswpout 1\n"), Err("pswpin many"));
    }
}
