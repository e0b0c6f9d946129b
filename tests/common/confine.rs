//! Programs that begin another one with less than it would have.

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

/// What stands before a command line to have so little memory that may be locked, and no
/// CAP_IPC_LOCK to pass by it; none where that cannot be had.
pub fn with_little_memlock() -> Option<[&'static str; 4]> {
    let prefix = ["prlimit", "--memlock=16777216:16777216", "setpriv", "--bounding-set=-ipc_lock"];
    works(&prefix).then_some(prefix)
}

fn works(prefix: &[&str]) -> bool {
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg("/bin/true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
