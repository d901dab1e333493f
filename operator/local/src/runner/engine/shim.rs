//! The shim that is put into an image: it must be static, since an image may hold no library at all.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The variable that names it.
const ENV_SHIM: &str = "VARVE_SHIM";
/// In an ELF file: the kind of the part that names the dynamic loader.
const PT_INTERP: u32 = 3;

/// A static shim: the one that `VARVE_SHIM` names, one beside our program, or our program itself.
pub(crate) fn find(exe: &Path) -> Result<PathBuf, String> {
    let named = std::env::var_os(ENV_SHIM).map(PathBuf::from);
    let beside = exe.with_file_name(varve_api::pod::SHIM);
    let candidates: Vec<PathBuf> = named.into_iter().chain([beside, exe.to_owned()]).collect();
    let found = candidates.iter().find(|candidate| is_static(candidate).unwrap_or(false));
    found.cloned().ok_or_else(|| {
        let looked: Vec<_> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
        format!(
            "no static varve-shim to put into images: looked at {}. Build it by `cargo build -p varve-worker --bin \
             varve-shim --target x86_64-unknown-linux-gnu` with `-C target-feature=+crt-static` and name it in {ENV_SHIM}",
            looked.join(", ")
        )
    })
}

/// Whether a program runs without a loader: a 64-bit little-endian ELF file that names none.
fn is_static(program: &Path) -> io::Result<bool> {
    let mut file = File::open(program)?;
    let mut header = [0; 64];
    file.read_exact(&mut header)?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(false);
    }
    let number = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let mut offset = [0; 8];
    offset.copy_from_slice(&header[32..40]);
    let (size, count) = (number(54), number(56));
    if size < 4 {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(u64::from_le_bytes(offset)))?;
    let mut parts = vec![0; size * count];
    file.read_exact(&mut parts)?;
    Ok(parts.chunks_exact(size).all(|part| part[..4] != PT_INTERP.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        assert!(!is_static(&std::env::current_exe().unwrap()).unwrap());
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "#!/bin/sh\n".repeat(20)).unwrap();
        assert!(!is_static(text.path()).unwrap());
    }
}
