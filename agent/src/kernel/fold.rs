//! Folds the frozen globals of the BPF object into its instructions, before it is loaded.
//!
//! Rust has no CO-RE relocations, so the offset of each field of the kernel is a global. A load of one is a memory access at
//! each event, though its value never changes; here it becomes a part of the instruction that uses it, as CO-RE would make it.
//! No instruction moves: what is superfluous becomes a jump to the next one, which the kernel takes out. Pure: an object in,
//! an object out.

mod code;
mod constants;
mod dead;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{FileHeader64, Rel64, SHF_EXECINSTR, STT_FUNC};
use object::read::SectionIndex;
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};

use self::code::{BYTES, CALL, Code, Instruction, LOAD_WIDE};

type Header = FileHeader64<LE>;
type Section = object::elf::SectionHeader64<LE>;

/// The value of `src` in a call that says that the kernel's own function is called, by the number of its type
/// (`BPF_PSEUDO_KFUNC_CALL`).
const KERNEL_FUNCTION: u8 = 2;

/// What is put into the instructions.
#[derive(Clone, Debug, Default)]
pub struct Values<'a> {
    /// Globals and their values. All others stay as they are.
    pub globals: &'a [(&'a str, u64)],
    /// Numbers that stand for functions of the kernel where helpers are called, and the numbers of the functions' types.
    pub functions: &'a [(i32, u32)],
}

/// Why an object is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// It is no ELF file, or a broken one.
    #[error("cannot read the BPF object: {0}")]
    Elf(#[from] object::read::Error),
    /// Something that the compiler did not use to write.
    #[error("the BPF object has {0}")]
    Unexpected(&'static str),
}

/// Returns the object with the values in its instructions.
///
/// # Errors
/// See [`FoldError`].
pub fn fold(object: &[u8], values: &Values<'_>) -> Result<Vec<u8>, FoldError> {
    let header = Header::parse(object)?;
    let sections = header.sections(LE, object)?;
    let symbols = sections.symbols(LE, object, object::elf::SHT_SYMTAB)?;
    let globals = Rodata::find(object, &sections, &symbols, values.globals)?;
    let mut folded = object.to_vec();
    for (index, section) in sections.enumerate() {
        if section.sh_flags(LE) & u64::from(SHF_EXECINSTR) == 0 {
            continue;
        }
        let relocations = relocations(object, &sections, index)?;
        for symbol in symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC) {
            if usize::from(symbol.st_shndx(LE)) != index.0 {
                continue;
            }
            let function = Function {
                start: symbol.st_value(LE),
                bytes: part(section, symbol.st_value(LE), symbol.st_size(LE))?,
                section_bytes: section.sh_size(LE),
                globals: &globals,
                relocations: &relocations,
            };
            function.fold(&mut folded, values.functions)?;
        }
    }
    Ok(folded)
}

/// Where a part of a section is in the file.
fn part(section: &Section, start: u64, bytes: u64) -> Result<Range<usize>, FoldError> {
    let is_within = start.checked_add(bytes).is_some_and(|end| end <= section.sh_size(LE));
    let from = section.sh_offset(LE).checked_add(start).and_then(|from| usize::try_from(from).ok());
    let range =
        from.zip(usize::try_from(bytes).ok()).and_then(|(from, bytes)| Some(from..from.checked_add(bytes)?));
    range.filter(|_| is_within).ok_or(FoldError::Unexpected("a function beyond the end of its section"))
}

/// A relocation of an instruction.
struct Relocation {
    /// Its symbol.
    symbol: usize,
    /// Where it is itself, in the file.
    place: usize,
}

/// The relocations of a section, by the offset that they are of.
fn relocations(
    object: &[u8],
    sections: &SectionTable<'_, Header>,
    of: SectionIndex,
) -> Result<BTreeMap<u64, Relocation>, FoldError> {
    let mut all = BTreeMap::new();
    for section in sections.iter().filter(|section| section.info_link(LE) == of) {
        let Some((entries, _)) = section.rel(LE, object)? else { continue };
        let first = part(section, 0, section.sh_size(LE))?.start;
        for (n, entry) in entries.iter().enumerate() {
            let relocation = Relocation {
                symbol: usize::try_from(entry.r_sym(LE)).unwrap_or(usize::MAX),
                place: first + n * size_of::<Rel64<LE>>(),
            };
            all.insert(entry.r_offset.get(LE), relocation);
        }
    }
    Ok(all)
}

/// The section of the globals.
struct Rodata {
    /// Their bytes, with the values that are put in.
    bytes: Vec<u8>,
    /// Which of these are put in.
    known: BTreeSet<u64>,
    /// Symbols in this section, and their addresses.
    symbols: BTreeMap<usize, u64>,
}

impl Rodata {
    fn find(
        object: &[u8],
        sections: &SectionTable<'_, Header>,
        symbols: &SymbolTable<'_, Header>,
        values: &[(&str, u64)],
    ) -> Result<Self, FoldError> {
        let Some((index, section)) = sections.section_by_name(LE, b".rodata") else {
            return Err(FoldError::Unexpected("no section of globals"));
        };
        let mut rodata = Self {
            bytes: section.data(LE, object)?.to_vec(),
            known: BTreeSet::new(),
            symbols: BTreeMap::new(),
        };
        for (number, symbol) in symbols.enumerate() {
            if usize::from(symbol.st_shndx(LE)) != index.0 {
                continue;
            }
            rodata.symbols.insert(number.0, symbol.st_value(LE));
            let name = symbols.symbol_name(LE, symbol)?;
            if let Some((_, value)) = values.iter().find(|(global, _)| global.as_bytes() == name) {
                rodata.put(symbol.st_value(LE), symbol.st_size(LE), *value)?;
            }
        }
        Ok(rodata)
    }

    fn put(&mut self, address: u64, bytes: u64, value: u64) -> Result<(), FoldError> {
        let value = value.to_le_bytes();
        let place = usize::try_from(address).ok().zip(usize::try_from(bytes).ok());
        let (place, value) = place
            .and_then(|(at, bytes)| {
                Some((self.bytes.get_mut(at..at.checked_add(bytes)?)?, value.get(..bytes)?))
            })
            .ok_or(FoldError::Unexpected(
                "a global beyond the end of its section, or of more than 8 bytes",
            ))?;
        place.copy_from_slice(value);
        self.known.extend(address..address + bytes);
        Ok(())
    }

    /// So many bytes at an address, zero-extended, if all are known.
    fn value(&self, address: u64, bytes: usize) -> Option<i64> {
        let end = address.checked_add(bytes as u64)?;
        if !(address..end).all(|byte| self.known.contains(&byte)) {
            return None;
        }
        let mut value = [0; 8];
        let from = usize::try_from(address).ok()?;
        value.get_mut(..bytes)?.copy_from_slice(self.bytes.get(from..from + bytes)?);
        Some(i64::from_le_bytes(value))
    }
}

/// One function of the object.
struct Function<'a> {
    /// Where it begins in its section.
    start: u64,
    /// Where it is in the file.
    bytes: Range<usize>,
    section_bytes: u64,
    globals: &'a Rodata,
    relocations: &'a BTreeMap<u64, Relocation>,
}

impl Function<'_> {
    fn fold(&self, object: &mut [u8], functions: &[(i32, u32)]) -> Result<(), FoldError> {
        let Some(mut code) = Code::decode(&object[self.bytes.clone()]) else {
            return Err(FoldError::Unexpected("a function that is no whole number of instructions"));
        };
        let decided = constants::put_in(&mut code, self);
        let of_globals: BTreeSet<usize> =
            code.iter().filter(|(at, wide)| self.is_of_global(*at, *wide)).map(|(at, _)| at).collect();
        dead::remove(&mut code, &decided, &|at| of_globals.contains(&at));
        for instruction in &mut code.instructions {
            name_function(instruction, functions);
        }
        object[self.bytes.clone()].copy_from_slice(&code.encode());
        for at in of_globals.into_iter().filter(|at| code.instructions[*at].code != LOAD_WIDE) {
            self.drop_relocation(object, at);
        }
        Ok(())
    }

    /// The offset in the section of an instruction.
    fn offset(&self, at: usize) -> u64 {
        self.start + (at * BYTES) as u64
    }

    fn is_of_global(&self, at: usize, instruction: Instruction) -> bool {
        instruction.code == LOAD_WIDE && constants::Globals::address(self, at, instruction.imm).is_some()
    }

    /// Has the relocation of an instruction that is no more apply to nothing: to what is beyond the end of all functions. aya
    /// looks up those of each function by their offset; that it does is tested.
    fn drop_relocation(&self, object: &mut [u8], at: usize) {
        let Some(relocation) = self.relocations.get(&self.offset(at)) else { return };
        let beyond = self.section_bytes + self.offset(at);
        object[relocation.place..relocation.place + 8].copy_from_slice(&beyond.to_le_bytes());
    }
}

/// Has a call of a number that stands for a function of the kernel call that.
fn name_function(instruction: &mut Instruction, functions: &[(i32, u32)]) {
    if instruction.code != CALL || instruction.src != 0 {
        return;
    }
    let function = functions.iter().find(|(number, _)| *number == instruction.imm);
    if let Some(id) = function.and_then(|(_, id)| i32::try_from(*id).ok()) {
        *instruction = Instruction { src: KERNEL_FUNCTION, imm: id, ..*instruction };
    }
}

impl constants::Globals for Function<'_> {
    fn address(&self, at: usize, addend: i32) -> Option<u64> {
        let relocation = self.relocations.get(&self.offset(at))?;
        let symbol = self.globals.symbols.get(&relocation.symbol)?;
        Some(symbol.wrapping_add_signed(i64::from(addend)))
    }

    fn value(&self, address: u64, bytes: usize) -> Option<i64> {
        self.globals.value(address, bytes)
    }
}
