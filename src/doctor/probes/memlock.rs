//! Whether buffers can be registered with a ring.
//!
//! The limit shows at the registration and not before, and only to a process without CAP_IPC_LOCK:
//! so some memory is registered, and the limit is compared with what the engines would register.

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use crate::doctor::machine::{self, Capability, limit, size};
use crate::doctor::report::Finding;
use crate::doctor::scene::Scene;
use crate::limits::DOCTOR_REGISTER_BYTES;
use crate::ring::Uring;
use crate::techniques::AlignedBuffer;

pub(in crate::doctor) fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let options = scene.options;
    let wanted = options.body_buffers + options.direct_cache;
    let allowed = getrlimit(Resource::Memlock).current;
    let free = machine::has(Capability::IpcLock);
    let tried = wanted.min(DOCTOR_REGISTER_BYTES).max(page_size() as u64);
    let registered = register(tried as usize);
    let facts = json!({
        "limit_bytes": allowed,
        "cap_ipc_lock": free,
        "wanted_bytes": wanted,
        "tried_bytes": tried,
        "registered": registered.is_ok(),
    });
    let wants = format!(
        "the engine uring registers {} (body-buffers), direct {} more (direct-cache)",
        size(options.body_buffers),
        size(options.direct_cache)
    );
    let allows = match free {
        true => "this process may lock any amount (CAP_IPC_LOCK)".to_owned(),
        false => format!("{} may be locked", limit(allowed)),
    };
    let finding = match registered {
        Err(error) => Finding::note(format!(
            "{allows}, and {} cannot be registered ({error}): reads go without registered buffers \
             and cost more; {wants}",
            size(tried)
        )),
        Ok(()) if !free && allowed.is_some_and(|allowed| allowed < wanted) => {
            Finding::note(format!("{allows}, less than is wanted: {wants}"))
        }
        Ok(()) => Finding::good(format!("{allows}; {wants}")),
    };
    vec![finding.facts(facts)]
}

/// Registers so many bytes with a ring that is gone at the end.
fn register(bytes: usize) -> Result<(), String> {
    let mut memory = AlignedBuffer::new(bytes, page_size()).map_err(|error| error.to_string())?;
    let mut ring = Uring::new().map_err(|_| "io_uring is not available".to_owned())?;
    let answer = ring.register_memory(&[(memory.as_mut_ptr(), bytes)]);
    // The kernel lets go of the memory with the ring.
    drop(ring);
    answer.map_err(|error| error.to_string())
}
