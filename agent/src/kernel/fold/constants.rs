//! What registers hold where it does not depend on the machine's state, and the instructions that become shorter by it.

use super::code::{
    ADD_IMMEDIATE, BY_REGISTER, Code, Instruction, LOAD_WIDE, MOVE, MOVE_IMMEDIATE, REGISTERS, class,
};

/// What is known of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Control did not get there yet.
    Unseen,
    /// The address of a byte of the globals.
    Address(u64),
    Value(i64),
    Anything,
}

impl Known {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unseen, known) | (known, Self::Unseen) => known,
            (a, b) if a == b => a,
            _ => Self::Anything,
        }
    }

    fn value(self) -> Option<i64> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

type Registers = [Known; REGISTERS];

/// The frozen globals, as a function sees them.
pub(super) trait Globals {
    /// The address among the globals that the instruction at a place loads.
    fn address(&self, at: usize, addend: i32) -> Option<u64>;
    /// What so many bytes at an address are, zero-extended, if they never change.
    fn value(&self, address: u64, bytes: usize) -> Option<i64>;
}

/// Which way each jump with a condition goes that always goes one way.
pub(super) type Decided = Vec<Option<bool>>;

/// Puts the globals' values into the instructions, in place of loads and of registers that hold them.
///
/// A jump that is decided by them stays: the verifier sees the same constants, and takes out what is never reached. To take
/// it out here would leave instructions that nothing leads to, which Linux 5.10 refuses.
pub(super) fn put_in(code: &mut Code, globals: &dyn Globals) -> Decided {
    let before = registers(code, globals);
    let mut decided = vec![None; code.instructions.len()];
    for (at, instruction) in code.clone().iter() {
        let known = &before[at];
        decided[at] = decision(instruction, known);
        if let Some(shorter) = shorter(instruction, known, globals) {
            code.instructions[at] = shorter;
        }
    }
    decided
}

/// What is known before each instruction.
fn registers(code: &Code, globals: &dyn Globals) -> Vec<Registers> {
    let mut before = vec![[Known::Unseen; REGISTERS]; code.instructions.len()];
    before[0] = [Known::Anything; REGISTERS];
    let mut work = vec![0];
    while let Some(at) = work.pop() {
        let instruction = code.instructions[at];
        let after = step(at, instruction, &before[at], globals);
        let (on, elsewhere) = code.ways(at);
        let decision = decision(instruction, &before[at]);
        let ways = [on.filter(|_| decision != Some(true)), elsewhere.filter(|_| decision != Some(false))];
        for to in ways.into_iter().flatten() {
            let mut joined = before[to];
            for (old, new) in joined.iter_mut().zip(after) {
                *old = old.or(new);
            }
            if joined != before[to] {
                before[to] = joined;
                work.push(to);
            }
        }
    }
    before
}

/// What is known after an instruction.
fn step(at: usize, instruction: Instruction, before: &Registers, globals: &dyn Globals) -> Registers {
    let (_, written) = instruction.effects();
    let mut after = *before;
    for (register, known) in after.iter_mut().enumerate() {
        if written & 1 << register != 0 {
            *known = Known::Anything;
        }
    }
    let Instruction { code, dst, src, off, imm } = instruction;
    let operand =
        if instruction.is_by_register() { before[usize::from(src)] } else { Known::Value(i64::from(imm)) };
    let result = match code {
        LOAD_WIDE => globals.address(at, imm).map_or(Known::Anything, Known::Address),
        MOVE if off == 0 => operand,
        MOVE_IMMEDIATE => operand,
        _ if instruction.class() == class::ALU64 && off == 0 => {
            let values = before[usize::from(dst)].value().zip(operand.value());
            values.and_then(|(a, b)| sum(code, a, b)).map_or(Known::Anything, Known::Value)
        }
        _ => global(instruction, before, globals).map_or(Known::Anything, Known::Value),
    };
    if written == 1 << dst {
        after[usize::from(dst)] = result;
    }
    after
}

/// The value of a global that an instruction loads.
fn global(instruction: Instruction, before: &Registers, globals: &dyn Globals) -> Option<i64> {
    let bytes = instruction.load_bytes()?;
    let Known::Address(address) = before[usize::from(instruction.src)] else { return None };
    globals.value(address.wrapping_add_signed(i64::from(instruction.off)), bytes)
}

/// Of the operations on 64 bits those that verifiers of all kernels follow exactly.
fn sum(code: u8, a: i64, b: i64) -> Option<i64> {
    match code & !BY_REGISTER {
        0x07 => Some(a.wrapping_add(b)),
        0x17 => Some(a.wrapping_sub(b)),
        0x47 => Some(a | b),
        0x57 => Some(a & b),
        _ => None,
    }
}

/// Which way a jump goes, where that is known.
fn decision(instruction: Instruction, before: &Registers) -> Option<bool> {
    if !instruction.is_conditional() || instruction.class() != class::JUMP64 {
        return None;
    }
    let left = before[usize::from(instruction.dst)].value()?;
    let right = if instruction.is_by_register() {
        before[usize::from(instruction.src)].value()?
    } else {
        i64::from(instruction.imm)
    };
    match instruction.code & !BY_REGISTER {
        0x15 => Some(left == right),
        0x55 => Some(left != right),
        _ => None,
    }
}

/// An instruction that does the same without a load or a register.
fn shorter(instruction: Instruction, before: &Registers, globals: &dyn Globals) -> Option<Instruction> {
    if let Some(value) = global(instruction, before, globals) {
        let imm = i32::try_from(value).ok()?;
        return Some(Instruction { code: MOVE_IMMEDIATE, src: 0, off: 0, imm, ..instruction });
    }
    const ADD: u8 = ADD_IMMEDIATE | BY_REGISTER;
    let is_sum = matches!(instruction.code, MOVE | ADD) && instruction.off == 0;
    let is_test =
        instruction.class() == class::JUMP64 && instruction.is_conditional() && instruction.is_by_register();
    if !is_sum && !is_test {
        return None;
    }
    let imm = i32::try_from(before[usize::from(instruction.src)].value()?).ok()?;
    Some(Instruction { code: instruction.code & !BY_REGISTER, src: 0, imm, ..instruction })
}
