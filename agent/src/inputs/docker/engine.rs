//! The points of the daemon itself, from its responses; pure.

use super::options::{DockerOptions, StorageObject};
use super::tags::{point, set, set_engine, set_image, short};
use crate::identity::docker::Engine;
use crate::identity::docker::{DiskUsage, Info};
use crate::inputs::Gathered;
use crate::line_protocol::truncated;
use crate::point::Name;

/// The measurement `docker`, and those of the device mapper.
pub(super) fn info(gathered: &mut Gathered, engine: &Engine, info: &Info) {
    let mut tags = Vec::new();
    set_engine(&mut tags, engine);
    let mut counts = point(gathered, "docker", &tags, None, 9);
    for (field, count) in [
        ("n_cpus", info.n_cpu),
        ("n_used_file_descriptors", info.n_fd),
        ("n_containers", info.containers),
        ("n_containers_running", info.containers_running),
        ("n_containers_stopped", info.containers_stopped),
        ("n_containers_paused", info.containers_paused),
        ("n_images", info.images),
        ("n_goroutines", info.n_goroutines),
        ("n_listener_events", info.n_events_listener),
    ] {
        set(&mut counts.fields, field, count);
    }
    gathered.push(counts);
    let memory = point(gathered, "docker", &tags, None, 1).field("memory_total", info.mem_total);
    gathered.push(memory);
    device_mapper(gathered, &tags, &info.driver_status);
}

/// The status of the storage driver `devicemapper`, which docker had until version 24.
fn device_mapper(gathered: &mut Gathered, tags: &[(Name, Name)], status: &[Vec<String>]) {
    let bytes = Some(("unit", "bytes"));
    let mut data = point(gathered, "docker_data", tags, bytes, 3);
    let mut metadata = point(gathered, "docker_metadata", tags, bytes, 3);
    let mut mapper = point(gathered, "docker_devicemapper", tags, None, 9);
    for pair in status {
        let [name, value] = pair.as_slice() else { continue };
        if name == "Pool Name" {
            mapper.set_tag("pool_name", truncated(value.clone()));
        }
        let Some(value) = size(value) else { continue };
        match name.as_str() {
            "Pool Blocksize" => {
                let block = point(gathered, "docker", tags, bytes, 1).field("pool_blocksize", value);
                gathered.push(block);
                mapper.set_field("pool_blocksize_bytes", value);
            }
            "Base Device Size" => mapper.set_field("base_device_size_bytes", value),
            "Thin Pool Minimum Free Space" => mapper.set_field("thin_pool_minimum_free_space_bytes", value),
            "Data Space Used" => {
                data.set_field("used", value);
                mapper.set_field("data_space_used_bytes", value);
            }
            "Data Space Total" => {
                data.set_field("total", value);
                mapper.set_field("data_space_total_bytes", value);
            }
            "Data Space Available" => {
                data.set_field("available", value);
                mapper.set_field("data_space_available_bytes", value);
            }
            "Metadata Space Used" => {
                metadata.set_field("used", value);
                mapper.set_field("metadata_space_used_bytes", value);
            }
            "Metadata Space Total" => {
                metadata.set_field("total", value);
                mapper.set_field("metadata_space_total_bytes", value);
            }
            "Metadata Space Available" => {
                metadata.set_field("available", value);
                mapper.set_field("metadata_space_available_bytes", value);
            }
            _ => {}
        }
    }
    for point in [data, metadata, mapper] {
        gathered.push(point);
    }
}

/// A size as docker prints it: `65.54 kB`, by thousands.
fn size(text: &str) -> Option<i64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].trim().parse().ok()?;
    let factor = match text[unit..].to_ascii_lowercase().as_str() {
        "b" => 1e0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "pb" => 1e15,
        _ => return None,
    };
    Some((number * factor) as i64)
}

/// The measurement `docker_disk_usage`.
pub(super) fn disk_usage(
    gathered: &mut Gathered,
    engine: &Engine,
    options: &DockerOptions,
    usage: &DiskUsage,
) {
    let wants = |object| options.storage_objects.contains(&object);
    let mut tags = Vec::new();
    set_engine(&mut tags, engine);
    let start = |gathered: &Gathered| point(gathered, "docker_disk_usage", &tags, None, 2);
    if wants(StorageObject::Image) {
        gathered.push(start(gathered).field("layers_size", usage.layers_size));
        for image in &usage.images {
            let mut point = start(gathered).field("size", image.size).field("shared_size", image.shared_size);
            let id = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
            point.set_tag("image_id", Name::new(short(id)));
            if let Some(name) = image.repo_tags.first() {
                set_image(&mut point.tags, ("image_name", "image_version"), name);
            }
            gathered.push(point);
        }
    }
    for container in usage.containers.iter().filter(|_| wants(StorageObject::Container)) {
        let mut point =
            start(gathered).field("size_rw", container.size_rw).field("size_root_fs", container.size_root_fs);
        let mut names = container.names.iter().map(|name| name.trim_start_matches('/'));
        if let Some(name) = names.find(|name| !name.contains('/')) {
            point.set_tag("container_name", truncated(name.to_owned()));
        }
        set_image(&mut point.tags, ("container_image", "container_version"), &container.image);
        if options.source_tag {
            point.set_tag("source", Name::new(short(&container.id)));
        }
        gathered.push(point);
    }
    for volume in usage.volumes.iter().filter(|_| wants(StorageObject::Volume)) {
        let point = start(gathered).field("size", volume.usage_data.size);
        gathered.push(point.tag("volume_name", truncated(volume.name.clone())));
    }
}
