//! Network namespaces of the tests' own, two of them with a wire between.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::{run, try_run};

/// Two namespaces joined by a veth pair, `10.99.0.1` in the first and `10.99.0.2` in the second.
///
/// Neighbours are set by hand and IPv6 is off, so that nothing but what a test sends crosses the wire.
pub struct Wire {
    /// The names of the two.
    pub names: [String; 2],
}

/// The interface in either namespace.
pub const INTERFACE: &str = "wire";
/// The addresses.
pub const ADDRESSES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];
/// The same of IPv6, see [`Wire::add_ipv6`].
pub const ADDRESSES6: [&str; 2] = ["fd99::1", "fd99::2"];
const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

impl Wire {
    /// Makes both.
    pub fn new() -> Self {
        let names = ["a", "b"].map(|end| format!("seismograf-{end}-{}", std::process::id()));
        let wire = Self { names };
        for name in &wire.names {
            run("ip", &["netns", "add", name]);
            wire.exec(name, "ip", &["link", "set", "lo", "up"]);
            for which in ["all", "default"] {
                wire.exec(name, "sysctl", &["-q", "-w", &format!("net.ipv6.conf.{which}.disable_ipv6=1")]);
            }
        }
        let [a, b] = &wire.names;
        wire.exec(
            a,
            "ip",
            &["link", "add", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", b],
        );
        for i in 0..2 {
            let (name, other) = (&wire.names[i], 1 - i);
            wire.exec(name, "ip", &["link", "set", INTERFACE, "address", MACS[i], "arp", "off"]);
            wire.exec(name, "ip", &["addr", "add", &format!("{}/24", ADDRESSES[i]), "dev", INTERFACE]);
            wire.exec(name, "ip", &["link", "set", INTERFACE, "up"]);
            let neighbour = [
                "neigh",
                "replace",
                ADDRESSES[other],
                "lladdr",
                MACS[other],
                "dev",
                INTERFACE,
                "nud",
                "permanent",
            ];
            wire.exec(name, "ip", &neighbour);
        }
        wire
    }

    /// Has IPv6 too, with [`ADDRESSES6`]. What the kernel sends by itself then (multicast listeners, routers) is no cgroup's
    /// of a test, but is in the interface's counters.
    pub fn add_ipv6(&self) {
        for (i, name) in self.names.iter().enumerate() {
            let other = 1 - i;
            for which in ["all", "default", INTERFACE] {
                self.exec(name, "sysctl", &["-q", "-w", &format!("net.ipv6.conf.{which}.disable_ipv6=0")]);
            }
            let address = format!("{}/64", ADDRESSES6[i]);
            self.exec(name, "ip", &["addr", "add", &address, "dev", INTERFACE, "nodad"]);
            let neighbour = [
                "neigh",
                "replace",
                ADDRESSES6[other],
                "lladdr",
                MACS[other],
                "dev",
                INTERFACE,
                "nud",
                "permanent",
            ];
            self.exec(name, "ip", &neighbour);
        }
    }

    /// Runs a command in a namespace.
    ///
    /// By nsenter: `ip -n` and `ip netns exec` mount things besides, which not every root directory allows.
    pub fn exec(&self, name: &str, program: &str, args: &[&str]) -> String {
        let namespace = format!("--net=/run/netns/{name}");
        run("nsenter", &[&[namespace.as_str(), program], args].concat())
    }

    /// A file of proc as it is in a namespace.
    pub fn proc(&self, end: usize, file: &str) -> String {
        self.exec(&self.names[end], "cat", &[&format!("/proc/{file}")])
    }

    /// Switches segmentation and receive offload at both ends.
    pub fn offload(&self, on: bool) {
        let state = if on { "on" } else { "off" };
        for name in &self.names {
            self.exec(name, "ethtool", &["-K", INTERFACE, "tso", state, "gso", state, "gro", state]);
        }
    }
}

/// Namespaces around a bridge in the calling thread's own, which is new: as pods of a cluster have it. Everything in them
/// reaches everything else, and nothing more.
pub struct Star {
    /// The names of those around it.
    pub names: Vec<String>,
}

impl Star {
    /// The address of the thread itself.
    pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 254);

    /// Moves the calling thread to a namespace of its own, and makes `n` around it.
    ///
    /// # Panics
    /// Without root.
    #[must_use]
    pub fn new(n: u8) -> Self {
        // SAFETY: of this thread alone, and of what it starts.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        let mut star = Self { names: Vec::new() };
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "hub", "type", "bridge"]);
        run("ip", &["address", "add", &format!("{}/24", Self::HUB), "dev", "hub"]);
        run("ip", &["link", "set", "hub", "up"]);
        for i in 0..n {
            let (name, end) = (format!("seismograf-{i}-{}", std::process::id()), format!("end{i}"));
            run("ip", &["netns", "add", &name]);
            star.names.push(name.clone());
            run("ip", &["link", "add", &end, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            run("ip", &["link", "set", &end, "master", "hub", "up"]);
            let inside = |args: &[&str]| {
                run("nsenter", &[&[&format!("--net=/run/netns/{name}"), "ip"], args].concat())
            };
            inside(&["link", "set", "lo", "up"]);
            inside(&["address", "add", &format!("{}/24", Self::address(i)), "dev", "eth0"]);
            inside(&["link", "set", "eth0", "up"]);
        }
        star
    }

    /// The address of a member.
    #[must_use]
    pub fn address(member: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, 0, member + 1)
    }

    /// A command that runs a program in a member's namespace, with the process id that it has itself.
    #[must_use]
    pub fn command(&self, member: u8, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.names[usize::from(member)])).arg(program);
        command
    }
}

impl Drop for Star {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = try_run("ip", &["netns", "del", name]);
        }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = try_run("ip", &["netns", "del", name]);
        }
    }
}
