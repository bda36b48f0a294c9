//! What udev knows about a device, from its data in `/run/udev/data` and the device's `uevent` in sysfs.
//!
//! udev keeps a file for each device under its number, which `diskstats` has; so no device node is needed, and a container
//! needs no `/dev` of the host. Read at each gather: udev replaces the files when something changes.

use std::collections::HashMap;

use crate::host::Host;
use crate::host::proc::diskstats::DiskLine;
use crate::inputs::{GatherError, read_text};

/// The properties of a device by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties(HashMap<String, String>);

impl Properties {
    /// Reads them.
    ///
    /// # Errors
    /// When udev has no data about the device.
    pub(super) fn read(device: &DiskLine<'_>, host: &Host) -> Result<Self, GatherError> {
        let path = host.block_run("udev/data").join(format!("b{}:{}", device.major, device.minor));
        // The second place is that of udev before it became a part of systemd.
        let old = || read_text(&host.block_dev(".udev/db").join(format!("block:{}", device.name)));
        let data = read_text(&path).or_else(|error| old().map_err(|_| error))?;
        let mut properties = Self::parse(&data);
        properties.add_uevent(device, host);
        Ok(properties)
    }

    /// A line is a link (`S:disk/by-id/x`), a property (`E:ID_FS_TYPE=ext4`), or internal to udev.
    pub(super) fn parse(data: &str) -> Self {
        let (mut properties, mut links) = (HashMap::new(), Vec::new());
        for line in data.lines() {
            match line.split_once(':') {
                Some(("S", link)) => links.push(format!("/dev/{link}")),
                Some(("E", property)) => {
                    if let Some((key, value)) = property.split_once('=') {
                        properties.insert(key.to_owned(), value.to_owned());
                    }
                }
                _ => {}
            }
        }
        if !links.is_empty() {
            properties.insert("DEVLINKS".to_owned(), links.join(" "));
        }
        Self(properties)
    }

    /// Adds what the kernel has itself, so that udev does not store it: `DEVNAME`, `DEVTYPE`, `DEVPATH`.
    fn add_uevent(&mut self, device: &DiskLine<'_>, host: &Host) {
        let folder = host.block_sys("class/block").join(device.name);
        let Ok(uevent) = read_text(&folder.join("uevent")) else { return };
        for (key, value) in uevent.lines().filter_map(|line| line.split_once('=')) {
            let value = match key {
                "DEVNAME" if !value.starts_with("/dev") => format!("/dev/{value}"),
                key if key.starts_with("DEV") => value.to_owned(),
                _ => continue,
            };
            self.0.insert(key.to_owned(), value);
        }
        // Telegraf's path: that of the hardware, and then the name. A partition has none.
        let sysfs = std::fs::canonicalize(host.block_sys("")).unwrap_or_default();
        let hardware = std::fs::canonicalize(folder.join("device"));
        if let Some(path) =
            hardware.ok().and_then(|path| Some(path.strip_prefix(sysfs).ok()?.join(device.name)))
        {
            self.0.insert("DEVPATH".to_owned(), format!("/{}", path.display()));
        }
    }

    /// A property.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The links to the device, without `/dev/`.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        let links = self.get("DEVLINKS").into_iter().flat_map(|links| links.split(' '));
        links.map(|link| link.strip_prefix("/dev/").unwrap_or(link))
    }

    /// The serial number: udev's, or else model and number of the disk in sysfs.
    ///
    /// A partition has those of its disk. Telegraf takes the driver's first disk for that, whichever disk this is.
    pub(super) fn serial(&self, device: &DiskLine<'_>, host: &Host) -> Option<String> {
        let serial = self.get("ID_SERIAL").map(str::to_owned).or_else(|| {
            let folder = host.block_sys("dev/block").join(format!("{}:{}", device.major, device.minor));
            let part = |file| {
                let texts = ["device", "../device"].into_iter().map(|hardware| {
                    read_text(&folder.join(hardware).join(file)).ok().filter(|text| !text.is_empty())
                });
                texts.flatten().next()
            };
            Some(format!("{}_{}", part("model")?, part("serial")?))
        });
        let serial = serial?.replace(['\n', '\r'], "").trim().to_owned();
        Some(serial).filter(|serial| !serial.is_empty())
    }

    /// A template with its properties filled in, `$KEY` or `${KEY}`; `None` when one of them is missing.
    pub(super) fn fill(&self, template: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (key, after_key) = key(after);
            if key.is_empty() {
                filled.push('$');
                rest = after;
            } else {
                filled.push_str(self.get(key)?);
                rest = after_key;
            }
        }
        filled.push_str(rest);
        Some(filled)
    }
}

/// The key at the start of a text, and what comes after it; an empty one when there is none.
fn key(text: &str) -> (&str, &str) {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    match text.strip_prefix('{') {
        Some(braced) => {
            let (key, rest) = braced.split_at(word(braced));
            rest.strip_prefix('}').map_or(("", text), |rest| (key, rest))
        }
        None => text.split_at(word(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::write;
    use super::*;
    use crate::host::proc::diskstats;

    #[test]
    fn templates_are_filled_when_everything_is_there() {
        let properties = Properties::parse("E:A=1\nE:B_2=two\n");
        for (template, filled) in [
            ("dm-$A", Some("dm-1")),
            ("${A}b", Some("1b")),
            ("$B_2/${A}", Some("two/1")),
            ("$B", None),
            ("$A$C", None),
            ("plain", Some("plain")),
            ("$ $", Some("$ $")),
            ("${A", Some("${A")),
            ("${}$$A", Some("${}$1")),
            ("", Some("")),
        ] {
            assert_eq!(properties.fill(template).as_deref(), filled, "{template}");
        }
    }

    #[test]
    fn what_is_no_property_is_left_out() {
        let properties = Properties::parse("S:disk/a\nN:sda\nE:NO_VALUE\nE:A=b=c\n\nnothing\nS:disk/b\n");
        assert_eq!(properties.get("A"), Some("b=c"));
        assert_eq!(properties.get("NO_VALUE"), None);
        assert_eq!(properties.links().collect::<Vec<_>>(), ["disk/a", "disk/b"]);
        assert_eq!(Properties::default().links().count(), 0);
    }

    #[test]
    fn data_is_looked_for_in_both_places() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        let device = &diskstats::parse_line("8 0 sda 1 2 3 4 5 6 7 8 9 10 11").unwrap();
        let error = Properties::read(device, &host).unwrap_err().to_string();
        assert!(error.contains("/run/udev/data/b8:0: No such file"), "{error}");
        write(root.path(), "dev/.udev/db/block:sda", "E:A=old\n");
        assert_eq!(Properties::read(device, &host).unwrap().get("A"), Some("old"));
        write(root.path(), "run/udev/data/b8:0", "E:A=new\n");
        assert_eq!(Properties::read(device, &host).unwrap().get("A"), Some("new"));
    }
}
