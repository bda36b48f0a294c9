//! The programs, maps and links behind the probes: loaded by it, or taken over from the pins of an
//! agent before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, CgroupSkb, Program, ProgramError, RawTracePoint};
use aya::{Btf as AyaBtf, Ebpf};

use super::pins::{self, Pinned, Pins, PinsError};
use super::plan::{GroupState, Hook};
use super::refusal::{off, refused};

/// The object, and what stands for its programs.
pub(super) struct Held {
    /// With the pinned maps, where there are any.
    pub(super) ebpf: Ebpf,
    /// Where the programs of an agent before this one are pinned.
    pinned_programs: BTreeMap<String, PathBuf>,
    /// Those that are in use, in place of the object's.
    taken_over: BTreeMap<&'static str, Program>,
    /// Of an agent before this one; what is not needed of them is detached when this is dropped and its pin removed.
    pinned_links: BTreeMap<String, FdLink>,
    /// What is attached.
    links: BTreeMap<&'static str, FdLink>,
    pinning: Option<Pinning>,
}

/// What there was of pins when the probes were opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All is new.
    New,
    /// It went on counting since an agent before this one.
    TakenOver,
    /// Others were pinned, and why they could not be taken over.
    Replaces(String),
}

/// Where all is pinned, or is going to be.
pub(super) struct Pinning {
    pub(super) pins: Arc<Pins>,
    pub(super) version: String,
    pub(super) directory: PathBuf,
    /// The directory has its name, and all that is in use.
    is_whole: bool,
}

impl Pinning {
    /// Where all is pinned already.
    pub(super) fn taken_over(pins: &Arc<Pins>, version: String, pinned: &Pinned) -> Self {
        Self { pins: Arc::clone(pins), version, directory: pinned.directory.clone(), is_whole: true }
    }

    /// A directory to pin in, with the maps of an object.
    pub(super) fn begin(pins: &Arc<Pins>, version: String, ebpf: &Ebpf) -> Result<Self, PinsError> {
        let directory = pins.begin()?;
        for (name, map) in ebpf.maps().filter(|(name, _)| is_pinned(name)) {
            pins::pin_map(&directory, name, map)?;
        }
        Ok(Self { pins: Arc::clone(pins), version, directory, is_whole: false })
    }
}

/// What the compiler names itself is part of each program: constants, which are the same in all objects of a version. bpffs
/// takes no name with a dot.
fn is_pinned(map: &str) -> bool {
    !map.starts_with('.')
}

impl Held {
    pub(super) fn new(ebpf: Ebpf, pinned: Pinned, pinning: Option<Pinning>) -> Self {
        Self {
            ebpf,
            pinned_programs: pinned.programs,
            taken_over: BTreeMap::new(),
            pinned_links: pinned.links,
            links: BTreeMap::new(),
            pinning,
        }
    }

    pub(super) fn program(&self, name: &str) -> Option<&Program> {
        self.taken_over.get(name).or_else(|| self.ebpf.program(name))
    }

    pub(super) fn program_mut(&mut self, name: &str) -> Option<&mut Program> {
        match self.taken_over.get_mut(name) {
            Some(program) => Some(program),
            None => self.ebpf.program_mut(name),
        }
    }

    /// Loads a program, or takes it over where it is pinned.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn load(
        &mut self,
        name: &'static str,
        hook: Hook,
        btf: Option<&AyaBtf>,
    ) -> Result<(), GroupState> {
        if self.take_over(name, hook).map_err(|error| refused(name, &error))? {
            return Ok(());
        }
        let program = self.program_mut(name).ok_or_else(|| {
            off(format!("the BPF object has no program {name}"), "build it anew: cargo xtask build")
        })?;
        let loaded = match (hook, program, btf) {
            (Hook::TracePoint(tracepoint), Program::BtfTracePoint(program), Some(btf)) => {
                program.load(tracepoint, btf)
            }
            (Hook::Skb(_), Program::CgroupSkb(program), _) => program.load(),
            (Hook::Flush | Hook::Look, Program::RawTracePoint(program), _) => program.load(),
            (Hook::Iterator(target), Program::Iter(program), Some(btf)) => program.load(target, btf),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|error| refused(name, &error))
    }

    /// Takes a program over that is pinned. Returns whether it is one.
    fn take_over(&mut self, name: &'static str, hook: Hook) -> Result<bool, ProgramError> {
        if self.taken_over.contains_key(name) {
            return Ok(true);
        }
        let Some(path) = self.pinned_programs.get(name) else { return Ok(false) };
        let program = match hook {
            Hook::TracePoint(_) => Program::BtfTracePoint(BtfTracePoint::from_pin(path)?),
            Hook::Skb(direction) => Program::CgroupSkb(CgroupSkb::from_pin(path, direction)?),
            Hook::Flush => Program::RawTracePoint(RawTracePoint::from_pin(path)?),
            // They count nothing between two gathers that an agent after this one could go on with.
            Hook::Iterator(_) | Hook::Look => return Ok(false),
        };
        self.taken_over.insert(name, program);
        Ok(true)
    }

    /// Takes a link over that is pinned. Returns whether it is one.
    pub(super) fn take_over_link(&mut self, name: &'static str) -> bool {
        self.pinned_links.remove(name).is_some_and(|link| self.links.insert(name, link).is_none())
    }

    /// Keeps what attaches a program.
    pub(super) fn attached(&mut self, name: &'static str, link: FdLink) {
        self.links.insert(name, link);
        self.changed();
    }

    /// Detaches a program.
    pub(super) fn detach(&mut self, name: &str) {
        self.links.remove(name);
    }

    fn changed(&mut self) {
        if let Some(pinning) = &mut self.pinning {
            pinning.is_whole = false;
        }
    }

    /// Unloads a program.
    pub(super) fn unload(&mut self, name: &str) {
        self.links.remove(name);
        if self.taken_over.remove(name).is_some() {
            return;
        }
        // A program that was never loaded returns an error, which is just as good.
        let _ = match self.ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::CgroupSkb(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
    }

    /// Pins the programs `in_use` and their links, if they are to be and are not yet. From here on they stay.
    pub(super) fn pin(&mut self, in_use: &[&'static str]) -> Result<(), PinsError> {
        let Some(mut pinning) = self.pinning.take_if(|pinning| !pinning.is_whole) else { return Ok(()) };
        let pinned = self.pin_in(&mut pinning, in_use);
        pinning.is_whole = pinned.is_ok();
        self.pinning = Some(pinning);
        pinned
    }

    fn pin_in(&mut self, pinning: &mut Pinning, in_use: &[&'static str]) -> Result<(), PinsError> {
        pinning.directory = pinning.pins.reopen(&pinning.directory)?;
        let is_there = |kind: &str, name: &str, in_: &Path| in_.join(format!("{kind}_{name}")).exists();
        for &name in in_use {
            if !is_there("program", name, &pinning.directory)
                && let Some(program) = self.program_mut(name)
            {
                pins::pin_program(&pinning.directory, name, program)?;
            }
            if !is_there("link", name, &pinning.directory)
                && let Some(link) = self.links.remove(name)
            {
                self.links.insert(name, pins::pin_link(&pinning.directory, name, link)?);
            }
        }
        pinning.directory = pinning.pins.finish(&pinning.version)?;
        Ok(())
    }

    /// Whether what is in use stays when the agent ends.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinning.as_ref().is_some_and(|pinning| pinning.is_whole)
    }
}
