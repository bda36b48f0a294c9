//! proc(5) `cpuinfo`: the CPUs that are online, and where each one sits.
//!
//! Its lines differ by architecture. `physical id`, `core id` and `cpu cores` are x86's alone, and there only where the
//! kernel was built for more than one CPU; what is missing is `None`. The kernel asks each CPU for its frequency when the
//! file is read, so it is not cheap.

use std::collections::HashMap;

use procfs::{CpuInfo, FromBufRead as _, ProcError};

/// Where a CPU sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuPlace {
    /// Its number, as in the name `cpu0` that `stat` and sysfs give it.
    pub(crate) number: String,
    /// The core, unique in its package.
    pub(crate) core_id: Option<String>,
    /// The package.
    pub(crate) physical_id: Option<String>,
}

/// The CPUs that have a number, in the order of the file.
///
/// # Errors
/// What procfs cannot parse.
pub(crate) fn places(text: &str) -> Result<Vec<CpuPlace>, ProcError> {
    let cpuinfo = CpuInfo::from_buf_read(text.as_bytes())?;
    let field = |cpu, name| cpuinfo.get_field(cpu, name).filter(|id| !id.is_empty()).map(str::to_owned);
    let places = (0..cpuinfo.num_cores()).filter_map(|cpu| {
        Some(CpuPlace {
            number: field(cpu, "processor")?,
            core_id: field(cpu, "core id"),
            physical_id: field(cpu, "physical id"),
        })
    });
    Ok(places.collect())
}

/// How many CPUs there are.
///
/// Not by procfs: some architectures capitalise `processor`. Without a number it is the model's name.
pub(crate) fn n_cpus(text: &str) -> usize {
    let is_cpu = |line: &&str| {
        line.get(.."processor".len()).is_some_and(|name| name.eq_ignore_ascii_case("processor"))
            && line.split_once(':').is_some_and(|(_, number)| number.trim().parse::<u32>().is_ok())
    };
    text.lines().filter(is_cpu).count()
}

/// How many cores there are in all packages; 0 where the file does not say.
///
/// # Errors
/// What procfs cannot parse.
pub(crate) fn n_cores(text: &str) -> Result<i64, ProcError> {
    let cpuinfo = CpuInfo::from_buf_read(text.as_bytes())?;
    let number = |cpu, name| cpuinfo.get_field(cpu, name)?.parse::<i64>().ok();
    let cpus = (0..cpuinfo.num_cores())
        .filter_map(|cpu| Some((number(cpu, "physical id")?, number(cpu, "cpu cores")?)));
    let packages: HashMap<_, _> = cpus.collect();
    Ok(packages.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_added_up_by_package() {
        let cpu = |number, package| {
            format!("processor : {number}\nphysical id : {package}\ncore id : 3\ncpu cores : 4\n\n")
        };
        let text = cpu(0, 0) + &cpu(1, 0) + &cpu(2, 1);
        assert_eq!((n_cpus(&text), n_cores(&text).unwrap()), (3, 8));
        let places = places(&text).unwrap();
        let place = |number: &str, package: &str| CpuPlace {
            number: number.into(),
            core_id: Some("3".into()),
            physical_id: Some(package.into()),
        };
        assert_eq!(places, [place("0", "0"), place("1", "0"), place("2", "1")]);
    }

    #[test]
    fn other_architectures_say_less() {
        let text = "Processor : ARMv7 rev 4\nprocessor : 0\n\nPROCESSOR : 1\n\n";
        assert_eq!((n_cpus(text), n_cores(text).unwrap()), (2, 0));
        assert_eq!((n_cpus(""), n_cores("").unwrap(), places("").unwrap()), (0, 0, vec![]));
    }
}
