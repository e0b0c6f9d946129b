//! Pipes for the engine `splice`: the size that one gets, and for how many that holds.

use rustix::io::Errno;
use rustix::param::page_size;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde_json::json;

use crate::doctor::machine::{self, Capability, size};
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::engines::Kind;
use crate::limits::PIPE_BYTES;

const SYSCTL: &str = "/proc/sys/fs/";

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let connections = scene.options.connections;
    let wanted = connections.min(scene.options.pipes) as u64;
    let sysctl = |name: &str| machine::number(&format!("{SYSCTL}{name}"));
    let (soft, hard) = (sysctl("pipe-user-pages-soft"), sysctl("pipe-user-pages-hard"));
    // pipe(7): the limits are for users without these capabilities, and 0 is none.
    let free = machine::has(Capability::SysResource) || machine::has(Capability::SysAdmin);
    let budget = match free {
        true => None,
        false => soft.into_iter().chain(hard).filter(|pages| *pages > 0).min(),
    };
    let full = budget.map(|pages| pages * page_size() as u64 / u64::from(PIPE_BYTES));
    let granted = granted();
    let asks = format!("{connections} connections may use {wanted} pipes at once");
    let finding = match granted {
        Err(errno) => Finding::blocking([Kind::Splice], format!("no pipe can be made: {errno}")),
        Ok(bytes) if bytes < PIPE_BYTES => Finding::note(format!(
            "a pipe gets {} and not {}, so each body takes more calls; {asks}",
            size(bytes.into()),
            size(PIPE_BYTES.into())
        )),
        Ok(bytes) => {
            let each = size(bytes.into());
            match full {
                Some(full) if full < wanted => Finding::note(format!(
                    "{full} pipes get {each}, further ones of this user a page or two; {asks}"
                )),
                Some(full) => Finding::good(format!("{full} pipes get {each}; {asks}")),
                None => Finding::good(format!("each pipe gets {each}; {asks}")),
            }
        }
    };
    vec![finding.facts(json!({
        "granted_bytes": granted.ok(),
        "wanted_bytes": PIPE_BYTES,
        "wanted": wanted,
        "of_full_size": full,
        "unlimited": free,
        "user_pages_soft": soft,
        "user_pages_hard": hard,
        "size_max": sysctl("pipe-max-size"),
    }))]
}

/// The size that a pipe of the server gets, in bytes.
fn granted() -> Result<u32, Errno> {
    let (_read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    match fcntl_setpipe_size(&write, PIPE_BYTES as usize) {
        Ok(size) => Ok(size as u32),
        // PERM: beyond pipe-max-size or the pages of this user; it keeps the size that it has.
        Err(_) => rustix::pipe::fcntl_getpipe_size(&write).map(|size| size as u32),
    }
}
