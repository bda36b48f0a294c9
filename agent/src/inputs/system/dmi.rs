//! The group `dmi`: vendor and model of the machine, from sysfs `class/dmi/id`.

use crate::host::Host;
use crate::inputs::read_text;

/// The fields, and the files that they are.
const FILES: [(&str, &str); 20] = [
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("bios_date", "bios_date"),
    ("board_vendor", "board_vendor"),
    ("board_product", "board_name"),
    ("board_version", "board_version"),
    ("board_serial", "board_serial"),
    ("board_asset_tag", "board_asset_tag"),
    ("chassis_vendor", "chassis_vendor"),
    (CHASSIS_TYPE_CODE, "chassis_type"),
    ("chassis_version", "chassis_version"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("product_vendor", "sys_vendor"),
    ("product_name", "product_name"),
    ("product_family", "product_family"),
    ("product_version", "product_version"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
];
const CHASSIS_TYPE_CODE: &str = "chassis_type_code";
/// What Telegraf says where a file cannot be read, and of a code without a name.
const UNKNOWN: &str = "unknown";

/// What the codes of a chassis mean, from 1 on: the specification of SMBIOS, 7.4.1.
const CHASSIS_TYPES: [&str; 36] = [
    "Other",
    "Unknown",
    "Desktop",
    "Low profile desktop",
    "Pizza box",
    "Mini tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand held",
    "Docking station",
    "All in one",
    "Sub notebook",
    "Space-saving",
    "Lunch box",
    "Main server chassis",
    "Expansion chassis",
    "SubChassis",
    "Bus Expansion chassis",
    "Peripheral chassis",
    "RAID chassis",
    "Rack mount chassis",
    "Sealed-case PC",
    "Multi-system chassis",
    "Compact PCI",
    "Advanced TCA",
    "Blade",
    "Blade enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

/// All fields, `unknown` where a file cannot be read: serial numbers need root, and some machines have no DMI at all.
pub(super) fn read(host: &Host) -> Vec<(&'static str, String)> {
    let folder = host.sys("class/dmi/id");
    let mut fields = Vec::new();
    for (field, file) in FILES {
        let text = match read_text(&folder.join(file)) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                tracing::debug!(%error, "no {field}");
                UNKNOWN.to_owned()
            }
        };
        if field == CHASSIS_TYPE_CODE {
            let index = text.parse::<usize>().ok().and_then(|code| code.checked_sub(1));
            let kind = index.and_then(|index| CHASSIS_TYPES.get(index));
            fields.push(("chassis_type", (*kind.unwrap_or(&UNKNOWN)).to_owned()));
        }
        fields.push((field, text));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::write;
    use super::*;

    #[test]
    fn each_file_is_a_field() {
        let root = tempfile::tempdir().unwrap();
        for (_, file) in FILES {
            write(root.path(), &format!("sys/class/dmi/id/{file}"), format!("the {file} \n"));
        }
        write(root.path(), "sys/class/dmi/id/chassis_type", "23\n");
        let mut expected: Vec<_> =
            FILES.iter().map(|(field, file)| (*field, format!("the {file}"))).collect();
        let code = FILES.iter().position(|(field, _)| *field == CHASSIS_TYPE_CODE).unwrap();
        expected[code].1 = "23".to_owned();
        expected.insert(code, ("chassis_type", "Rack mount chassis".to_owned()));
        assert_eq!(read(&Host::at(root.path())), expected);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let fields = read(&Host::at(root.path()));
        assert_eq!(fields.len(), FILES.len() + 1);
        assert!(fields.iter().all(|(_, text)| text == UNKNOWN), "{fields:?}");
        write(root.path(), "sys/class/dmi/id/product_name", "a\n");
        let fields = read(&Host::at(root.path()));
        let known: Vec<_> = fields.iter().filter(|(_, text)| text != UNKNOWN).collect();
        assert_eq!(known, [&("product_name", "a".to_owned())]);
    }

    #[test]
    fn a_code_without_a_name_is_unknown() {
        for code in ["0", "37", "many", ""] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "sys/class/dmi/id/chassis_type", code);
            let fields = read(&Host::at(root.path()));
            let of = |name: &str| fields.iter().find(|(field, _)| *field == name).unwrap().1.as_str();
            assert_eq!((of("chassis_type"), of(CHASSIS_TYPE_CODE)), (UNKNOWN, code));
        }
    }
}
