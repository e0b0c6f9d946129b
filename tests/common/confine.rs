//! Programs that begin another one with less than it would have.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

/// A filter that answers the call of a number with EPERM, as containers do; behind it another
/// program. The number may be followed by the place of an argument, and what it has to be for that,
/// with colons between. Ends with 77 where no filter can be installed.
const FORBID: &str = r"
import ctypes, os, struct, sys
number, *argument = map(int, sys.argv[1].split(':'))
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
if argument:
    code = [(0x20, 0, 0, 16 + 8 * argument[0]), (0x15, 0, 1, argument[1])] + code
code = [(0x20, 0, 0, 0), (0x15, 0, len(code) - 1, number)] + code
text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in code))
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(text))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit(77)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
    sys.exit(77)
os.execv(sys.argv[2], sys.argv[2:])
";

/// What stands before a command line to forbid a call; none where no filter can be installed.
fn without(call: &'static str) -> Option<[&'static str; 4]> {
    let prefix = ["python3", "-c", FORBID, call];
    works(&prefix).then_some(prefix)
}

/// A call that has another number on each machine.
const fn either(here: &'static str, elsewhere: &'static str) -> &'static str {
    if cfg!(target_arch = "x86_64") { here } else { elsewhere }
}

/// What stands before a command line to forbid io_uring by a seccomp filter; none where no filter
/// can be installed.
pub fn without_io_uring() -> Option<[&'static str; 4]> {
    // io_uring_setup(2) has one number everywhere.
    without("425")
}

/// The same for restrictions of rings alone.
pub fn without_restrictions() -> Option<[&'static str; 4]> {
    // io_uring_register(2) with IORING_REGISTER_RESTRICTIONS.
    without("427:1:11")
}

/// The same for Landlock.
pub fn without_landlock() -> Option<[&'static str; 4]> {
    // landlock_create_ruleset(2).
    without("444")
}

/// The same for seccomp(2), so that no filter can follow.
pub fn without_seccomp() -> Option<[&'static str; 4]> {
    without(either("317", "277"))
}

/// The same for socketpair(2), without which a process has no line to another that it starts.
pub fn without_lines() -> Option<[&'static str; 4]> {
    without(either("53", "199"))
}

/// What stands before a command line to have only so many bytes of memory that may be locked;
/// none where that cannot be had. The limit is for all processes of a user together and does not
/// hold for CAP_IPC_LOCK, which root has: root becomes a user of whom there are no others, who may
/// read what root may.
pub fn with_little_memlock(bytes: u64) -> Option<Vec<String>> {
    let mut prefix = vec!["prlimit".to_owned(), format!("--memlock={bytes}:{bytes}")];
    if rustix::process::geteuid().is_root() {
        let nobody = 1 << 30 | std::process::id();
        prefix.push("setpriv".to_owned());
        prefix.extend([format!("--reuid={nobody}"), format!("--regid={nobody}")]);
        let rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
        prefix.extend(["--clear-groups"].into_iter().chain(rights).map(str::to_owned));
        prefix.push("--bounding-set=-ipc_lock".to_owned());
    }
    works(&prefix).then_some(prefix)
}

/// A control group with a bound of memory, of either version. It goes away with its value, when
/// nobody is in it any more.
pub struct Group {
    directory: PathBuf,
    bound: &'static str,
}

impl Group {
    /// # Errors
    /// Where none can be made, as for an ordinary user.
    pub fn with_memory(bytes: u64) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let (parent, bound) = match unified {
            true => (root.to_owned(), "memory.max"),
            false => (root.join("memory"), "memory.limit_in_bytes"),
        };
        if unified {
            // The controller has to be handed down to children first; it is no fault if it is.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let directory = parent.join(format!("pitcrew-test-{}-{number}", std::process::id()));
        fs::create_dir(&directory)?;
        let group = Self { directory, bound };
        fs::write(group.bound(), bytes.to_string())?;
        Ok(group)
    }

    /// The file that has the bound.
    pub fn bound(&self) -> PathBuf {
        self.directory.join(self.bound)
    }

    /// What stands before a command line that is to run in it.
    pub fn prefix(&self) -> Vec<String> {
        let door = self.directory.join("cgroup.procs");
        let script = format!("echo $$ > '{}' && exec \"$@\"", door.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let end = std::time::Instant::now() + super::PATIENCE;
        // Who was in it has been waited for, but the group may hear of it later.
        while fs::remove_dir(&self.directory)
            .is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy)
            && std::time::Instant::now() < end
        {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn works(prefix: &[impl AsRef<OsStr>]) -> bool {
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg("/bin/true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
