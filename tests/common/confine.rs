//! Programs that begin another one with less than it would have.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// A filter that answers io_uring_setup(2), number 425 everywhere, with EPERM, as containers do;
/// behind it another program. Ends with 77 where no filter can be installed.
const FORBID_IO_URING: &str = r"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in code))
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(text))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit(77)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
";

/// What stands before a command line to forbid io_uring by a seccomp filter; none where no filter
/// can be installed.
pub fn without_io_uring() -> Option<[&'static str; 3]> {
    let prefix = ["python3", "-c", FORBID_IO_URING];
    works(&prefix).then_some(prefix)
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

fn works(prefix: &[impl AsRef<OsStr>]) -> bool {
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg("/bin/true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
