//! Takes out what nobody reads any more, and has loads do the sums of their addresses.

use super::code::{ADD_IMMEDIATE, Code, FRAME, Instruction, LOAD_WIDE, MOVE};
use super::constants::Decided;

/// Takes out of a function whatever has become superfluous; `is_global` says of the wide loads whether they are of a global's
/// address.
pub(super) fn remove(code: &mut Code, decided: &Decided, is_global: &dyn Fn(usize) -> bool) {
    loop {
        let mut live = live_after(code, decided);
        let mut has_changed = false;
        for (at, instruction) in code.clone().iter() {
            let is_pure = instruction.is_pure() || instruction.code == LOAD_WIDE && is_global(at);
            if is_pure && live[at] & 1 << instruction.dst == 0 {
                code.remove(at);
                has_changed = true;
            }
        }
        if !displace(code, &mut live) && !has_changed {
            return;
        }
    }
}

/// Of each instruction, the registers that are read after it, as bits.
fn live_after(code: &Code, decided: &Decided) -> Vec<u16> {
    let mut after = vec![0_u16; code.instructions.len()];
    loop {
        let mut has_changed = false;
        for (at, _) in code.iter().rev() {
            let (on, elsewhere) = code.ways(at);
            let ways =
                [on.filter(|_| decided[at] != Some(true)), elsewhere.filter(|_| decided[at] != Some(false))];
            let mut live = 0;
            for to in ways.into_iter().flatten() {
                let (read, written) = code.instructions[to].effects();
                live |= read | (after[to] & !written);
            }
            has_changed |= live != after[at];
            after[at] = live;
        }
        if !has_changed {
            return after;
        }
    }
}

/// Turns `r2 = r8; r2 += 16; r1 = *(r2 + 0)` into `r1 = *(r8 + 16)`, and `r1 += 16; r1 = *(r1 + 0)` into `r1 = *(r1 + 16)`.
/// Returns whether there was any. `live` says afterwards of no register that it is dead where it is not.
fn displace(code: &mut Code, live: &mut [u16]) -> bool {
    let is_target = targets(code);
    let loads: Vec<_> = code.iter().filter(|(_, instruction)| instruction.load_bytes().is_some()).collect();
    let mut has_changed = false;
    for (at, load) in loads {
        let is_needed_after = load.dst != load.src && live[at] & 1 << load.src != 0;
        if load.src == FRAME || is_needed_after {
            continue;
        }
        let Some(sum) = definition(code, &is_target, at, load.src) else { continue };
        let add = code.instructions[sum];
        if add.code != ADD_IMMEDIATE {
            continue;
        }
        let Ok(off) = i16::try_from(i64::from(load.off) + i64::from(add.imm)) else { continue };
        code.remove(sum);
        let mut displaced = Instruction { off, ..load };
        if let Some(copy) = definition(code, &is_target, at, load.src) {
            let Instruction { code: operation, src, off: extension, .. } = code.instructions[copy];
            if operation == MOVE && extension == 0 && !is_written(code, copy..at, src) {
                displaced.src = src;
                code.remove(copy);
                live[copy..at].iter_mut().for_each(|live| *live |= 1 << src);
            }
        }
        code.instructions[at] = displaced;
        has_changed = true;
    }
    has_changed
}

/// Which instructions are jumped to.
fn targets(code: &Code) -> Vec<bool> {
    let mut is_target = vec![false; code.instructions.len()];
    for (at, _) in code.iter() {
        if let (_, Some(to)) = code.ways(at) {
            // What does nothing jumps to what comes next anyway.
            is_target[to] |= to != at + 1;
        }
    }
    is_target
}

/// Where a register got what it has at `at`, in one way through without jumps, if nothing reads it in between.
fn definition(code: &Code, is_target: &[bool], at: usize, register: u8) -> Option<usize> {
    let mut place = at;
    while !is_target[place] {
        place = code.before(place)?;
        let instruction = code.instructions[place];
        if instruction.ends_a_block() {
            return None;
        }
        let (read, written) = instruction.effects();
        if written & 1 << register != 0 {
            return Some(place);
        }
        if read & 1 << register != 0 {
            return None;
        }
    }
    None
}

/// Whether something after the first of these instructions writes a register.
fn is_written(code: &Code, places: std::ops::Range<usize>, register: u8) -> bool {
    code.iter().any(|(at, instruction)| {
        at > places.start && at < places.end && instruction.effects().1 & 1 << register != 0
    })
}
