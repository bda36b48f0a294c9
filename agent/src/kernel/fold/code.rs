//! The instructions of a BPF function: their encoding, what each reads and writes, and where control goes.
//!
//! Source: `Documentation/bpf/standardization/instruction-set.rst` and `include/uapi/linux/bpf.h`.

/// Loads 64 bits that are part of the instruction, which takes two places.
pub(super) const LOAD_WIDE: u8 = 0x18;
pub(super) const MOVE: u8 = 0xbf;
pub(super) const MOVE_IMMEDIATE: u8 = 0xb7;
pub(super) const ADD_IMMEDIATE: u8 = 0x07;
pub(super) const CALL: u8 = 0x85;
const JUMP: u8 = 0x05;
const JUMP_FAR: u8 = 0x06;
const CALL_REGISTER: u8 = 0x8d;
const EXIT: u8 = 0x95;
/// The bit that says that an operand is a register.
pub(super) const BY_REGISTER: u8 = 0x08;

/// The class of an instruction (its lowest three bits).
pub(super) mod class {
    pub(in super::super) const LOAD: u8 = 0;
    pub(in super::super) const LOAD_MEMORY: u8 = 1;
    pub(in super::super) const STORE_IMMEDIATE: u8 = 2;
    pub(in super::super) const STORE: u8 = 3;
    pub(in super::super) const ALU32: u8 = 4;
    pub(in super::super) const JUMP64: u8 = 5;
    pub(in super::super) const JUMP32: u8 = 6;
    pub(in super::super) const ALU64: u8 = 7;
}

/// Registers there are; the last one is the frame pointer.
pub(super) const REGISTERS: usize = 11;
pub(super) const FRAME: u8 = 10;
/// A call may change these, which are its result and its arguments.
const CALLER_SAVED: u16 = 0x3f;
/// What a call may read: its arguments.
const ARGUMENTS: u16 = 0x3e;
const RESULT: u16 = 1;

/// How many arguments a helper has (`include/uapi/linux/bpf.h`): of those that the programs call; of any other one, all that
/// there can be.
fn arguments(helper: i32) -> u32 {
    match helper {
        // ktime_get_ns, get_smp_processor_id, get_current_task
        5 | 8 | 35 => 0,
        // skb_cgroup_id, skc_to_tcp_sock
        79 | 137 => 1,
        // map_lookup_elem, ringbuf_submit, ringbuf_query
        1 | 132 | 134 => 2,
        // probe_read_kernel, ringbuf_reserve
        113 | 131 => 3,
        // skb_load_bytes
        26 => 4,
        _ => 5,
    }
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u8,
    pub(super) dst: u8,
    pub(super) src: u8,
    pub(super) off: i16,
    pub(super) imm: i32,
}

/// Bytes of one.
pub(super) const BYTES: usize = 8;
/// Does nothing: the kernel takes it out when a program is loaded.
pub(super) const NOTHING: Instruction = Instruction { code: JUMP, dst: 0, src: 0, off: 0, imm: 0 };

impl Instruction {
    pub(super) fn decode(bytes: [u8; BYTES]) -> Self {
        let [code, registers, off0, off1, imm0, imm1, imm2, imm3] = bytes;
        Self {
            code,
            dst: registers & 15,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes([imm0, imm1, imm2, imm3]),
        }
    }

    pub(super) fn encode(self) -> [u8; BYTES] {
        let ([off0, off1], [imm0, imm1, imm2, imm3]) = (self.off.to_le_bytes(), self.imm.to_le_bytes());
        [self.code, self.src << 4 | self.dst, off0, off1, imm0, imm1, imm2, imm3]
    }

    pub(super) fn class(self) -> u8 {
        self.code & 7
    }

    pub(super) fn is_by_register(self) -> bool {
        self.code & BY_REGISTER != 0
    }

    /// Bytes that a plain load takes from memory, zero-extended; `None` for anything else.
    pub(super) fn load_bytes(self) -> Option<usize> {
        match self.code {
            0x71 => Some(1),
            0x69 => Some(2),
            0x61 => Some(4),
            0x79 => Some(8),
            _ => None,
        }
    }

    /// Whether it is a jump with a condition.
    pub(super) fn is_conditional(self) -> bool {
        matches!(self.class(), class::JUMP64 | class::JUMP32)
            && !matches!(self.code, JUMP | JUMP_FAR | CALL | CALL_REGISTER | EXIT)
    }

    /// Whether control may go elsewhere than to the next instruction, or come back later.
    pub(super) fn ends_a_block(self) -> bool {
        matches!(self.class(), class::JUMP64 | class::JUMP32) && self != NOTHING
    }

    /// Whether all that it does is to write `dst`.
    pub(super) fn is_pure(self) -> bool {
        matches!(self.class(), class::ALU64 | class::ALU32)
    }

    /// The registers that it reads and those that it writes, as bits.
    pub(super) fn effects(self) -> (u16, u16) {
        let (dst, src) = (1_u16 << self.dst, 1_u16 << self.src);
        let by_register = if self.is_by_register() { src } else { 0 };
        match self.class() {
            class::LOAD if self.code == LOAD_WIDE => (0, dst),
            // The old loads from packets read register 6 and one more, and are calls.
            class::LOAD => (1 << 6 | dst | src, CALLER_SAVED),
            class::LOAD_MEMORY => (src, dst),
            class::STORE_IMMEDIATE => (dst, 0),
            class::STORE => self.store_effects(dst, src),
            class::ALU32 | class::ALU64 => {
                const OPERATION: u8 = 0xf0;
                match self.code & OPERATION {
                    // Moves do not read what they replace.
                    0xb0 => (by_register, dst),
                    // Negation and byte swaps have no second operand.
                    0x80 | 0xd0 => (dst, dst),
                    _ => (dst | by_register, dst),
                }
            }
            _ => match self.code {
                CALL if self.src == 0 => (ARGUMENTS & ((2 << arguments(self.imm)) - 1), CALLER_SAVED),
                CALL => (ARGUMENTS, CALLER_SAVED),
                CALL_REGISTER => (ARGUMENTS | dst, CALLER_SAVED),
                EXIT => (RESULT, 0),
                JUMP | JUMP_FAR => (0, 0),
                _ => (dst | by_register, 0),
            },
        }
    }

    /// [`Self::effects`] of a store, which may be atomic and give the old value back.
    fn store_effects(self, dst: u16, src: u16) -> (u16, u16) {
        const ATOMIC: u8 = 0xc0;
        const FETCH: i32 = 0x01;
        const COMPARE_EXCHANGE: i32 = 0xf1;
        match self.imm {
            _ if self.code & 0xe0 != ATOMIC => (dst | src, 0),
            COMPARE_EXCHANGE => (dst | src | RESULT, RESULT),
            imm if imm & FETCH != 0 => (dst | src, src),
            _ => (dst | src, 0),
        }
    }
}

/// The instructions of one function.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) instructions: Vec<Instruction>,
    /// The second half of one that takes two places.
    is_second: Vec<bool>,
}

impl Code {
    /// `None` where the bytes are no whole number of instructions, or use registers that there are not.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<BYTES>();
        if !rest.is_empty() || chunks.is_empty() {
            return None;
        }
        let instructions: Vec<_> = chunks.iter().copied().map(Instruction::decode).collect();
        let mut is_second = vec![false; instructions.len()];
        let mut at = 0;
        while at < instructions.len() {
            let Instruction { code, dst, src, .. } = instructions[at];
            if usize::from(dst) >= REGISTERS || usize::from(src) >= REGISTERS {
                return None;
            }
            at += 1;
            if code == LOAD_WIDE {
                *is_second.get_mut(at)? = true;
                at += 1;
            }
        }
        Some(Self { instructions, is_second })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.instructions.iter().flat_map(|instruction| instruction.encode()).collect()
    }

    /// Each instruction with its place.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, Instruction)> + '_ {
        let all = self.instructions.iter().copied().enumerate();
        all.filter(|(at, _)| !self.is_second[*at])
    }

    /// The place of the instruction before one.
    pub(super) fn before(&self, at: usize) -> Option<usize> {
        let before = at.checked_sub(1)?;
        if self.is_second[before] { before.checked_sub(1) } else { Some(before) }
    }

    /// Takes an instruction out.
    pub(super) fn remove(&mut self, at: usize) {
        let is_wide = self.instructions[at].code == LOAD_WIDE;
        self.instructions[at] = NOTHING;
        if is_wide {
            self.instructions[at + 1] = NOTHING;
            self.is_second[at + 1] = false;
        }
    }

    /// Where control goes from an instruction: on, and elsewhere.
    pub(super) fn ways(&self, at: usize) -> (Option<usize>, Option<usize>) {
        let instruction = self.instructions[at];
        let jump = |by: i64| {
            let to = usize::try_from(i64::try_from(at).ok()? + 1 + by).ok()?;
            (to < self.instructions.len()).then_some(to)
        };
        match instruction.code {
            LOAD_WIDE => (jump(1), None),
            EXIT => (None, None),
            JUMP => (None, jump(i64::from(instruction.off))),
            JUMP_FAR => (None, jump(i64::from(instruction.imm))),
            _ if instruction.is_conditional() => (jump(0), jump(i64::from(instruction.off))),
            _ => (jump(0), None),
        }
    }
}
