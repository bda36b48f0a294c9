//! A reader of the kernel's BTF, as far as field offsets and enumerators need it.
//!
//! Pure: bytes in, offsets out. aya has a BTF type, but keeps its look-ups to itself.
//! Source of the format: <https://docs.kernel.org/bpf/btf.html>.

/// What is wrong with a BTF blob.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// Too short, or not BTF.
    #[error("not a BTF blob of this machine's byte order")]
    Header,
    /// A type of a kind this reader does not know, so that the next one cannot be found.
    #[error("type {id} is of the unknown kind {kind}")]
    Kind {
        /// The type's number.
        id: u32,
        /// Its kind.
        kind: u32,
    },
    /// It ends within a type.
    #[error("it ends within type {id}")]
    Truncated {
        /// The type's number.
        id: u32,
    },
}

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_BYTES: u32 = 24;
const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// How the kernel names the types of its tracepoints, by which aya finds them.
pub(super) const TRACEPOINTS: &str = "btf_trace_";
/// The functions that stand for the iterators over cgroups (Linux 6.1) and over tasks (Linux 5.8).
pub(super) const CGROUP_ITERATOR: &str = "bpf_iter_cgroup";
/// Likewise.
pub(super) const TASK_ITERATOR: &str = "bpf_iter_task";
/// Bytes of a type before what its kind adds.
const TYPE_BYTES: usize = 12;
/// Bytes of a type with what its kind adds: somewhat less than the mean of a kernel.
const BYTES_OF_MOST: usize = 24;
/// Nested types are followed this deep; the kernel's own are far below.
const DEPTH: u32 = 16;

/// A parsed BTF blob. A few dozen of a kernel's 100,000 types are looked up, once: what finds them is small rather than fast.
pub struct Btf<'a> {
    data: &'a [u8],
    strings: &'a [u8],
    /// Where each type starts in `data`; type 0 is void and has no entry.
    types: Vec<u32>,
    /// Structs and unions that have a name; several can share one.
    structs: Vec<u32>,
    /// Where the enums of 32 bits start in `data`.
    enums: Vec<u32>,
}

/// A member: where it starts, and its type.
#[derive(Clone, Copy)]
struct Member {
    bits: u32,
    type_id: u32,
}

impl<'a> Btf<'a> {
    /// Indexes a blob.
    ///
    /// # Errors
    /// When it is not BTF of this machine's byte order, or has a type of an unknown kind.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at: usize| u32_at(data, at).ok_or(BtfError::Header);
        let magic = data.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(BtfError::Header);
        }
        let header = word(4)? as usize;
        let section = |at: usize| -> Result<&'a [u8], BtfError> {
            let (start, len) = (header.saturating_add(word(at)? as usize), word(at + 4)? as usize);
            data.get(start..start.saturating_add(len)).ok_or(BtfError::Header)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut btf = Self {
            data: types,
            strings,
            types: Vec::with_capacity(types.len() / BYTES_OF_MOST),
            structs: Vec::new(),
            enums: Vec::new(),
        };
        let mut at = 0;
        while at < types.len() {
            at = btf.index(at)?;
        }
        Ok(btf)
    }

    /// Indexes the type at `at`. Returns where the next one starts.
    fn index(&mut self, at: usize) -> Result<usize, BtfError> {
        let id = self.types.len() as u32 + 1;
        let truncated = BtfError::Truncated { id };
        let (Some(name), Some(info)) = (u32_at(self.data, at), u32_at(self.data, at + 4)) else {
            return Err(truncated);
        };
        let (kind, n) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let extra = match kind {
            KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_FUNC
            | KIND_FLOAT | KIND_TYPE_TAG => 0,
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => n * 12,
            KIND_ENUM | KIND_FUNC_PROTO => n * 8,
            kind => return Err(BtfError::Kind { id, kind }),
        };
        let next = at + TYPE_BYTES + extra;
        if next > self.data.len() {
            return Err(truncated);
        }
        self.types.push(at as u32);
        match kind {
            KIND_STRUCT | KIND_UNION if name != 0 => self.structs.push(id),
            KIND_ENUM => self.enums.push(at as u32),
            _ => {}
        }
        Ok(next)
    }

    /// Bytes from the start of struct `name` to a field, given as a path such as `se.sum_exec_runtime`.
    ///
    /// Members of anonymous structs and unions are found as if they were the outer one's. Of several structs of
    /// that name, the first that has the field counts. `None` when this kernel has no such field, or it is a bit field
    /// that does not start at a byte.
    #[must_use]
    pub fn offset(&self, name: &str, path: &str) -> Option<u64> {
        let is_named = |id: &&u32| self.name_of(**id).is_some_and(|at| self.is(at, name));
        self.structs.iter().filter(is_named).find_map(|&id| {
            let mut member = Member { bits: 0, type_id: id };
            for part in path.split('.') {
                let inner = self.member(member.type_id, part.as_bytes(), DEPTH)?;
                member = Member { bits: member.bits.checked_add(inner.bits)?, type_id: inner.type_id };
            }
            member.bits.is_multiple_of(8).then_some(u64::from(member.bits / 8))
        })
    }

    /// The value of an enumerator, whichever enum it is in.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u64> {
        self.enums.iter().find_map(|&at| {
            let n = u32_at(self.data, at as usize + 4)? & 0xffff;
            let entries = self.data.get(at as usize + TYPE_BYTES..)?.chunks_exact(8).take(n as usize);
            let mut entries = entries.filter_map(|entry| Some((u32_at(entry, 0)?, u32_at(entry, 4)?)));
            entries.find_map(|(entry, value)| self.is(entry, name).then_some(u64::from(value)))
        })
    }

    /// The number of a function's type; `None` when this kernel has no such function, or does not tell.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        let is_it = |at: &u32| self.named(*at, KIND_FUNC).is_some_and(|at| self.is(at, name));
        Some(self.types.iter().position(is_it)? as u32 + 1)
    }

    /// How many arguments the programs of a tracepoint get; `None` when this kernel has none of that name.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<u32> {
        let name = format!("{TRACEPOINTS}{tracepoint}");
        let is_it = |at: &&u32| self.named(**at, KIND_TYPEDEF).is_some_and(|at| self.is(at, &name));
        let typedef = *self.types.iter().find(is_it)? as usize;
        let pointer = self.resolved(u32_at(self.data, typedef + 8)?)?;
        let function = self.resolved(u32_at(self.data, pointer + 8)?)?;
        let info = u32_at(self.data, function + 4)?;
        // The first parameter is the tracepoint's own.
        (info >> 24 & 0x1f == KIND_FUNC_PROTO).then(|| (info & 0xffff).saturating_sub(1))
    }

    /// A blob of the typedefs whose names begin with `prefix` and of the functions called so, each with the number that it has
    /// here. What is between them has no name and no members, and takes a tenth of the memory of a kernel's types when it is
    /// parsed.
    #[must_use]
    pub fn typedefs_and(&self, prefix: &str, functions: &[&str]) -> Vec<u8> {
        let kept = |at: u32| {
            let name = |kind| Some((kind, self.string(self.named(at, kind)?)));
            name(KIND_TYPEDEF).filter(|(_, name)| name.starts_with(prefix.as_bytes())).or_else(|| {
                name(KIND_FUNC).filter(|(_, name)| functions.iter().any(|wanted| wanted.as_bytes() == *name))
            })
        };
        let n = self.types.iter().rposition(|&at| kept(at).is_some()).map_or(0, |last| last + 1);
        let (mut types, mut strings) = (Vec::with_capacity(3 * n), vec![0]);
        for &at in &self.types[..n] {
            if let Some((kind, name)) = kept(at) {
                let target = u32_at(self.data, at as usize + 8).unwrap_or(0);
                types.extend([strings.len() as u32, kind << 24, target]);
                strings.extend_from_slice(name);
                strings.push(0);
            } else {
                types.extend([0, KIND_FWD << 24, 0]);
            }
        }
        blob(&types, &strings)
    }

    /// Where the name of the type at `at` is, where it is of a kind.
    fn named(&self, at: u32, kind: u32) -> Option<u32> {
        let (name, info) = (u32_at(self.data, at as usize)?, u32_at(self.data, at as usize + 4)?);
        (info >> 24 & 0x1f == kind).then_some(name)
    }

    /// Where the name of a type is.
    fn name_of(&self, type_id: u32) -> Option<u32> {
        u32_at(self.data, *self.types.get(type_id.checked_sub(1)? as usize)? as usize)
    }

    fn member(&self, type_id: u32, name: &[u8], depth: u32) -> Option<Member> {
        let at = self.resolved(type_id)?;
        let info = u32_at(self.data, at + 4)?;
        if !matches!(info >> 24 & 0x1f, KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        let bit_fields = info >> 31 == 1;
        (0..(info & 0xffff) as usize).find_map(|i| {
            let entry = at + TYPE_BYTES + i * 12;
            let (member_name, type_id) = (u32_at(self.data, entry)?, u32_at(self.data, entry + 4)?);
            let offset = u32_at(self.data, entry + 8)?;
            let bits = if bit_fields { offset & 0x00ff_ffff } else { offset };
            let member_name = self.string(member_name);
            if member_name == name {
                return Some(Member { bits, type_id });
            }
            if !member_name.is_empty() {
                return None;
            }
            let inner = self.member(type_id, name, depth - 1)?;
            Some(Member { bits: bits.checked_add(inner.bits)?, type_id: inner.type_id })
        })
    }

    /// Where a type starts, behind its typedefs and qualifiers.
    fn resolved(&self, mut type_id: u32) -> Option<usize> {
        for _ in 0..DEPTH {
            let at = *self.types.get(type_id.checked_sub(1)? as usize)? as usize;
            match u32_at(self.data, at + 4)? >> 24 & 0x1f {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    type_id = u32_at(self.data, at + 8)?;
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// Whether that is the string at an offset.
    fn is(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| matches!(rest, [] | [0, ..]))
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

/// A blob: the header, then types, then strings.
fn blob(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let types_len = size_of_val(types) as u32;
    let mut data = Vec::with_capacity(HEADER_BYTES as usize + types_len as usize + strings.len());
    data.extend(MAGIC.to_ne_bytes());
    data.extend([VERSION, 0]);
    let words = [HEADER_BYTES, 0, types_len, types_len, strings.len() as u32];
    words.iter().chain(types).for_each(|word| data.extend(word.to_ne_bytes()));
    data.extend_from_slice(strings);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    // Names: 1 "task", 6 "se", 9 "sum", 13 "pid", 17 "RED", 21 "u64".
    const STRINGS: &[u8] = b"\0task\0se\0sum\0pid\0RED\0u64\0";

    #[rustfmt::skip]
    const TYPES: &[u32] = &[
        21, KIND_INT << 24, 8, 64,                          // 1: u64
        0, KIND_STRUCT << 24 | 1, 8, 9, 1, 0,               // 2: struct { u64 sum; } at 0
        0, KIND_STRUCT << 24 | 1, 8, 13, 1, 64,             // 3: anonymous struct { u64 pid; } at 8
        0, KIND_CONST << 24, 2,                             // 4: const 2
        1, KIND_STRUCT << 24 | 2, 32, 6, 4, 64, 0, 3, 128,  // 5: struct task { const 2 se at 8; anonymous 3 at 16 }
        0, KIND_ENUM << 24 | 1, 4, 17, 7,                   // 6: enum { RED = 7 }
    ];

    #[test]
    fn finds_nested_and_anonymous_members() {
        let data = blob(TYPES, STRINGS);
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("task", "se.sum"), Some(8));
        assert_eq!(btf.offset("task", "pid"), Some(24));
        assert_eq!(btf.offset("task", "sum"), None);
        assert_eq!(btf.offset("nothing", "sum"), None);
        assert_eq!(btf.enumerator("RED"), Some(7));
        assert_eq!(btf.enumerator("BLUE"), None);
    }

    #[test]
    fn arguments_of_a_tracepoint_are_counted() {
        let mut types = TYPES.to_vec();
        #[rustfmt::skip]
        types.extend([
            0, KIND_FUNC_PROTO << 24 | 3, 0, 0, 8, 0, 1, 0, 1, // 7: void (void *, u64, u64)
            0, KIND_PTR << 24, 7,                              // 8: pointer to 7
            25, KIND_TYPEDEF << 24, 8,                         // 9: typedef 8 btf_trace_x
            6, KIND_FUNC << 24, 7,                             // 10: function se, as 7
        ]);
        let data = blob(&types, b"\0task\0se\0sum\0pid\0RED\0u64\0btf_trace_x\0");
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.tracepoint_arguments("x"), Some(2));
        assert_eq!(btf.tracepoint_arguments("y"), None);
        assert_eq!((btf.function("se"), btf.function("task")), (Some(10), None));
    }

    #[test]
    fn typedefs_keep_their_numbers() {
        let mut types = TYPES.to_vec();
        types.extend([
            13,
            KIND_TYPEDEF << 24,
            2,
            0,
            KIND_PTR << 24,
            1,
            9,
            KIND_TYPEDEF << 24,
            1,
            17,
            KIND_PTR << 24,
            1,
        ]);
        let data = blob(&types, STRINGS);
        let data = Btf::parse(&data).unwrap().typedefs_and("s", &[]);
        let btf = Btf::parse(&data).unwrap();
        assert_eq!((btf.types.len(), btf.strings), (9, &b"\0sum\0"[..]));
        let at = btf.types[8] as usize;
        assert_eq!(
            [0, 4, 8].map(|word| u32_at(btf.data, at + word)),
            [Some(1), Some(KIND_TYPEDEF << 24), Some(1)]
        );
        assert!(aya::Btf::parse(&data, aya::Endianness::default()).is_ok());
    }

    #[test]
    fn functions_keep_their_numbers() {
        let mut types = TYPES.to_vec();
        #[rustfmt::skip]
        types.extend([
            0, KIND_FUNC_PROTO << 24, 0, // 7: void ()
            13, KIND_FUNC << 24, 7,      // 8: function pid, as 7
            17, KIND_FUNC << 24, 7,      // 9: function RED, as 7
        ]);
        let data = blob(&types, STRINGS);
        let data = Btf::parse(&data).unwrap().typedefs_and("none", &["pid"]);
        let btf = Btf::parse(&data).unwrap();
        assert_eq!((btf.types.len(), btf.function("pid"), btf.function("RED")), (8, Some(8), None));
        let btf = aya::Btf::parse(&data, aya::Endianness::default()).unwrap();
        assert_eq!(btf.id_by_type_name_kind("pid", aya_obj::btf::BtfKind::Func).unwrap(), 8);
    }

    #[test]
    fn an_offset_that_no_structure_has_is_none() {
        let mut types = TYPES.to_vec();
        // `se` and the anonymous member are nearly as far from the start as can be written.
        (types[24], types[27]) = (u32::MAX - 7, u32::MAX - 7);
        let data = blob(&types, STRINGS);
        let btf = Btf::parse(&data).unwrap();
        assert_eq!((btf.offset("task", "se"), btf.offset("task", "pid")), (Some(0x1fff_ffff), None));
    }

    #[test]
    fn refuses_what_is_not_btf() {
        assert_eq!(Btf::parse(b"").err(), Some(BtfError::Header));
        assert_eq!(Btf::parse(&[0; 64]).err(), Some(BtfError::Header));
        let mut odd = TYPES.to_vec();
        odd[1] = 30 << 24;
        assert_eq!(Btf::parse(&blob(&odd, STRINGS)).err(), Some(BtfError::Kind { id: 1, kind: 30 }));
        assert_eq!(Btf::parse(&blob(&TYPES[..7], STRINGS)).err(), Some(BtfError::Truncated { id: 2 }));
    }

    #[test]
    fn no_prefix_of_a_blob_panics() {
        let data = blob(TYPES, STRINGS);
        for end in 0..data.len() {
            if let Ok(btf) = Btf::parse(&data[..end]) {
                let _ = (btf.offset("task", "se.sum"), btf.enumerator("RED"));
            }
        }
    }
}
