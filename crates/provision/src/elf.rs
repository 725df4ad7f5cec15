//! For which machine a program is built, and that it needs nothing else there.

use std::fmt;

use elf::ElfBytes;
use elf::abi;
use elf::endian::AnyEndian;
use elf::file::Class;

/// Why a file is no program that one file is all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no ELF file, or a broken one.
    NoElf,
    /// It is no program, but a library or a part of one.
    NoProgram,
    /// It wants a loader or libraries of the host.
    Dynamic,
    /// It is for a machine that is not known here.
    UnknownMachine,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::NoElf => "is no program for Linux",
            Unfit::NoProgram => "is a part of a program",
            Unfit::Dynamic => "is not static: it needs libraries that the host may not have",
            Unfit::UnknownMachine => "is built for a machine that is not known",
        })
    }
}

/// The machine that the program is for, as `uname -m` has it there.
pub(crate) fn machine(content: &[u8]) -> Result<&'static str, Unfit> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(content).map_err(|_| Unfit::NoElf)?;
    let header = &file.ehdr;
    if !matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN) {
        return Err(Unfit::NoProgram);
    }
    let segments = file.segments().ok_or(Unfit::NoProgram)?;
    let wants_loader = segments.iter().any(|segment| segment.p_type == abi::PT_INTERP);
    let table = file.dynamic().map_err(|_| Unfit::NoElf)?;
    let wants_libraries = table.is_some_and(|table| table.iter().any(|entry| entry.d_tag == abi::DT_NEEDED));
    if wants_loader || wants_libraries {
        return Err(Unfit::Dynamic);
    }
    // A shared library that needs no other one has no first instruction.
    if header.e_entry == 0 || !segments.iter().any(|segment| segment.p_type == abi::PT_LOAD) {
        return Err(Unfit::NoProgram);
    }
    match (header.e_machine, header.class) {
        (abi::EM_X86_64, Class::ELF64) => Ok("x86_64"),
        (abi::EM_AARCH64, Class::ELF64) => Ok("aarch64"),
        (abi::EM_RISCV, Class::ELF64) => Ok("riscv64"),
        (abi::EM_386, Class::ELF32) => Ok("i686"),
        (abi::EM_ARM, Class::ELF32) => Ok("armv7l"),
        _ => Err(Unfit::UnknownMachine),
    }
}

/// One name for what kernels call otherwise.
pub(crate) fn canonical(machine: &str) -> &str {
    match machine {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "i386" | "i486" | "i586" | "x86" => "i686",
        "armv6l" | "armv8l" | "arm" => "armv7l",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF of 64 bits with these program headers, each of which says nothing but its kind.
    fn elf(machine: u16, kind: u16, segments: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(kind.to_le_bytes());
        bytes.extend(machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        for address in [0x40_0000_u64, 64, 0] {
            bytes.extend(address.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        let count = u16::try_from(segments.len()).unwrap();
        for number in [64_u16, 56, count, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        for kind in segments {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_static_program_is_for_its_machine_and_nothing_else_is_one() {
        let load = [abi::PT_LOAD];
        for (number, name) in
            [(abi::EM_X86_64, "x86_64"), (abi::EM_AARCH64, "aarch64"), (abi::EM_RISCV, "riscv64")]
        {
            assert_eq!(machine(&elf(number, abi::ET_EXEC, &load)), Ok(name));
            assert_eq!(machine(&elf(number, abi::ET_DYN, &load)), Ok(name), "it may be anywhere in memory");
        }
        assert_eq!(machine(&elf(abi::EM_68K, abi::ET_EXEC, &load)), Err(Unfit::UnknownMachine));
        assert_eq!(machine(&elf(abi::EM_X86_64, abi::ET_REL, &load)), Err(Unfit::NoProgram));
        assert_eq!(machine(&elf(abi::EM_X86_64, abi::ET_EXEC, &[])), Err(Unfit::NoProgram));
        let with_loader = elf(abi::EM_X86_64, abi::ET_DYN, &[abi::PT_LOAD, abi::PT_INTERP]);
        assert_eq!(machine(&with_loader), Err(Unfit::Dynamic));
        let whole = elf(abi::EM_X86_64, abi::ET_EXEC, &load);
        for length in 0..whole.len() {
            assert!(machine(&whole[..length]).is_err(), "{length} bytes of it");
        }
        assert_eq!(machine(b"#!/bin/sh\n"), Err(Unfit::NoElf));
    }

    #[test]
    fn this_very_test_is_not_static_and_names_of_machines_are_one() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        if cfg!(target_env = "gnu") {
            assert_eq!(machine(&own), Err(Unfit::Dynamic));
        }
        assert_eq!(
            [canonical("arm64"), canonical("i386"), canonical("sparc64")],
            ["aarch64", "i686", "sparc64"]
        );
    }
}
