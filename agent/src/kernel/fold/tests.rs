//! Programs do the same folded as they did before: random ones by an interpreter, and the agent's own by what is left in them.

use std::collections::BTreeMap;

use super::code::{Code, Instruction, LOAD_WIDE, NOTHING, class};
use super::constants::{Globals, put_in};
use super::dead;

/// Globals of eight bytes at these addresses; wide loads at the places in `loads` are of them.
struct Model {
    values: BTreeMap<u64, u64>,
    loads: BTreeMap<usize, u64>,
}

/// Where the interpreter has the globals.
const GLOBALS: u64 = 1 << 40;

impl Globals for Model {
    fn address(&self, at: usize, addend: i32) -> Option<u64> {
        Some(self.loads.get(&at)?.wrapping_add_signed(i64::from(addend)))
    }

    fn value(&self, address: u64, bytes: usize) -> Option<i64> {
        let (start, value) = self.values.range(..=address).next_back()?;
        let skipped = usize::try_from(address - start).ok().filter(|skipped| skipped + bytes <= 8)?;
        let mut part = [0; 8];
        part[..bytes].copy_from_slice(&value.to_le_bytes()[skipped..skipped + bytes]);
        Some(i64::from_le_bytes(part))
    }
}

/// A number that depends on all of another one, and on nothing else.
fn mixed(seed: u64) -> u64 {
    let mixed = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// What a program did: its result, and each access to memory that is no global, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    result: u64,
    accesses: Vec<(char, u64, u64)>,
}

/// Runs a program. Any address can be read: what nobody wrote there is made of the address.
fn run(code: &Code, model: &Model) -> Trace {
    let mut registers: Vec<u64> = (0..11).map(mixed).collect();
    let mut written = BTreeMap::new();
    let mut trace = Trace::default();
    let mut at = 0;
    loop {
        let instruction = code.instructions[at];
        let Instruction { dst, src, off, imm, .. } = instruction;
        let (d, s) = (usize::from(dst), usize::from(src));
        let extended = i64::from(imm) as u64;
        let operand = if instruction.is_by_register() { registers[s] } else { extended };
        let (mut next, elsewhere) = code.ways(at);
        match instruction.class() {
            class::LOAD => {
                let high = code.instructions[at + 1].imm as u32;
                let number = u64::from(high) << 32 | u64::from(imm as u32);
                let global = model.loads.get(&at).map(|address| GLOBALS + address + u64::from(imm as u32));
                registers[d] = global.unwrap_or(number);
            }
            class::LOAD_MEMORY => {
                let address = registers[s].wrapping_add_signed(i64::from(off));
                let bytes = instruction.load_bytes().unwrap();
                let global = model.value(address.wrapping_sub(GLOBALS), bytes).map(|value| value as u64);
                registers[d] = global.unwrap_or_else(|| {
                    let value = written.get(&address).copied().unwrap_or_else(|| mixed(address));
                    let value = value & (u64::MAX >> (64 - 8 * bytes));
                    trace.accesses.push(('r', address, value));
                    value
                });
            }
            class::STORE | class::STORE_IMMEDIATE => {
                let address = registers[d].wrapping_add_signed(i64::from(off));
                let value = if instruction.class() == class::STORE { registers[s] } else { extended };
                let old = written.insert(address, value).unwrap_or_else(|| mixed(address));
                trace.accesses.push(('w', address, value));
                if instruction.code == 0xdb && imm & 1 != 0 {
                    registers[s] = old;
                }
            }
            class::ALU64 => registers[d] = calculated(instruction.code, registers[d], operand),
            class::ALU32 => {
                registers[d] = u64::from(calculated(instruction.code, registers[d], operand) as u32);
            }
            _ if instruction.is_conditional() => {
                if is_taken(instruction.code, registers[d], operand) {
                    next = elsewhere;
                }
            }
            _ if instruction.code == super::code::CALL => {
                let read = instruction.effects().0;
                let arguments = (1..6).filter(|register| read & 1 << register != 0);
                registers[0] = arguments.fold(1, |sum, register| mixed(sum ^ registers[register]));
                registers[1..6].fill(7);
            }
            _ => next = next.or(elsewhere),
        }
        match next {
            Some(next) => at = next,
            None => {
                trace.result = registers[0];
                return trace;
            }
        }
    }
}

fn calculated(code: u8, a: u64, b: u64) -> u64 {
    match code & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x40 => a | b,
        0x50 => a & b,
        0xa0 => a ^ b,
        0xb0 => b,
        other => panic!("operation {other:#x}"),
    }
}

fn is_taken(code: u8, a: u64, b: u64) -> bool {
    match code & 0xf0 {
        0x10 => a == b,
        0x20 => a > b,
        0x50 => a != b,
        0x60 => a as i64 > b as i64,
        other => panic!("condition {other:#x}"),
    }
}

/// A program of `n` random instructions, with jumps forwards alone, and the globals that it loads.
fn random(random: &mut fastrand::Rng, n: usize) -> (Code, Model) {
    let mut model = Model { values: BTreeMap::new(), loads: BTreeMap::new() };
    for at in 0..4 {
        let value = random.choice([8, 24, 0x500, 0x7fff, 0x1_0000, u64::MAX, 0xf000_0000_0000]).unwrap();
        model.values.insert(at * 8, value);
    }
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < n {
        // Few registers, so that they meet.
        let (dst, src) = (random.u8(0..4), random.u8(0..4));
        let imm = random.choice([-1, 0, 8, 24, 0x500, i32::MIN]).unwrap();
        let off = i16::try_from(random.usize(0..=n - at - 1)).unwrap();
        let plain = Instruction { code: 0, dst, src, off: 0, imm };
        let instruction = match random.u8(0..13) {
            0..=2 => {
                let is_global = random.u8(0..4) > 0;
                if is_global {
                    model.loads.insert(at, random.u64(0..4) * 8);
                }
                let first =
                    Instruction { code: LOAD_WIDE, src: 0, imm: if is_global { 0 } else { imm }, ..plain };
                bytes.extend(first.encode());
                at += 1;
                Instruction { code: 0, dst: 0, src: 0, off: 0, imm: 0 }
            }
            3..=5 => {
                let code = random.choice([0x61, 0x69, 0x71, 0x79, 0x79, 0x79]).unwrap();
                Instruction { code, off: random.i16(0..3) * 4, imm: 0, ..plain }
            }
            6 => Instruction {
                code: random.choice([0x7b, 0xdb, 0x7a]).unwrap(),
                off: 8,
                imm: imm & 1,
                ..plain
            },
            7 | 8 => {
                let operation = random.choice([0x00, 0x00, 0x10, 0x20, 0x40, 0x50, 0xa0]).unwrap();
                let code = operation | random.choice([0x04, 0x07, 0x0c, 0x0f, 0x0f]).unwrap();
                Instruction { code, ..plain }
            }
            9 | 10 => Instruction { code: random.choice([0xbf, 0xbf, 0xb7, 0xbc, 0xb4]).unwrap(), ..plain },
            11 => {
                let condition = random.choice([0x10, 0x20, 0x50, 0x60]).unwrap();
                Instruction { code: condition | random.choice([0x05, 0x0d]).unwrap(), off, ..plain }
            }
            _ => Instruction { code: super::code::CALL, dst: 0, src: 0, imm: random.i32(1..6), off: 0 },
        };
        bytes.extend(instruction.encode());
        at += 1;
    }
    bytes.extend(Instruction { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 }.encode());
    (Code::decode(&bytes).unwrap(), model)
}

/// A jump into the middle of an instruction of two places is none that a compiler makes.
fn is_sound(code: &Code) -> bool {
    let starts: Vec<usize> = code.iter().map(|(at, _)| at).collect();
    code.iter().all(|(at, _)| {
        let (on, elsewhere) = code.ways(at);
        [on, elsewhere].into_iter().flatten().all(|to| starts.contains(&to))
    })
}

#[test]
fn a_random_program_does_the_same() {
    let mut generator = fastrand::Rng::with_seed(1);
    let (mut n_programs, mut n_shorter) = (0, 0);
    while n_programs < 20_000 {
        let n = generator.usize(3..40);
        let (code, model) = random(&mut generator, n);
        if !is_sound(&code) {
            continue;
        }
        n_programs += 1;
        let mut folded = code.clone();
        fold_code(&mut folded, &model);
        assert_eq!(run(&folded, &model), run(&code, &model), "{code:#?} {folded:#?} {:?}", model.values);
        let count = |code: &Code| code.instructions.iter().filter(|one| **one != NOTHING).count();
        n_shorter += usize::from(count(&folded) < count(&code));
    }
    assert!(n_shorter > n_programs / 2, "{n_shorter} of {n_programs} became shorter: this shows little");
}

fn fold_code(code: &mut Code, model: &Model) {
    let decided = put_in(code, model);
    dead::remove(code, &decided, &|at| model.loads.contains_key(&at));
}

/// The way to a field as the compiler writes it: `*(r8 + OFFSET)`, where the offset is a global.
#[test]
fn the_load_of_a_field_is_one_instruction() {
    let bytes: Vec<u8> = [
        Instruction { code: LOAD_WIDE, dst: 3, src: 0, off: 0, imm: 0 },
        Instruction { code: 0, dst: 0, src: 0, off: 0, imm: 0 },
        Instruction { code: 0x79, dst: 1, src: 3, off: 0, imm: 0 },
        Instruction { code: 0xbf, dst: 2, src: 8, off: 0, imm: 0 },
        Instruction { code: 0x0f, dst: 2, src: 1, off: 0, imm: 0 },
        Instruction { code: 0x61, dst: 0, src: 2, off: 4, imm: 0 },
        Instruction { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 },
    ]
    .into_iter()
    .flat_map(Instruction::encode)
    .collect();
    let mut code = Code::decode(&bytes).unwrap();
    let model = Model { values: [(16, 0x500)].into(), loads: [(0, 16)].into() };
    fold_code(&mut code, &model);
    let left: Vec<_> = code.instructions.iter().filter(|one| **one != NOTHING).collect();
    let load = Instruction { code: 0x61, dst: 0, src: 8, off: 0x504, imm: 0 };
    assert_eq!(left, [&load, &Instruction { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 }]);
}
