//! seccomp: the calls of the kernel that a server makes, and no others.
//!
//! The list was measured: every call of the server in its tests, by strace(1), with all engines,
//! listings, content tags, logs, archives, reloads and hand-overs, and beside each what the C
//! libraries use in its place. What is not on it fails with EPERM, so that a C library that tries
//! something newer goes on; what has no innocent use here ends the process, by SIGSYS, which
//! whoever supervises it sees.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that are made for one reason.
#[derive(Debug)]
pub struct Calls {
    /// The reason.
    pub why: &'static str,
    /// Their numbers on this machine.
    pub numbers: &'static [i64],
}

/// Everything that may be called, by reason.
pub static CALLS: &[Calls] = &[
    Calls {
        why: "the loop",
        numbers: &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    },
    Calls {
        why: "bodies that the engines move, and what the page cache has",
        numbers: &[
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_pipe2,
            libc::SYS_pread64,
            libc::SYS_preadv,
            libc::SYS_preadv2,
            libc::SYS_fadvise64,
            libc::SYS_mincore,
            CACHESTAT,
        ],
    },
    Calls {
        why: "files and directories: opened, looked at, listed, watched",
        numbers: &[
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_close,
            libc::SYS_close_range,
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_readlinkat,
            libc::SYS_getdents64,
            libc::SYS_getcwd,
            libc::SYS_lseek,
            libc::SYS_fcntl,
            libc::SYS_dup,
            libc::SYS_dup3,
            libc::SYS_inotify_init1,
            libc::SYS_inotify_add_watch,
            libc::SYS_inotify_rm_watch,
        ],
    },
    Calls {
        why: "the log and its archives, and the paths of unix sockets",
        numbers: &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_pwrite64,
            libc::SYS_pwritev2,
            libc::SYS_ftruncate,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_copy_file_range,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_unlinkat,
            libc::SYS_mkdirat,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
        ],
    },
    Calls {
        why: "listeners of a later configuration, a successor, the service manager",
        numbers: &[
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_getsockname,
            libc::SYS_getpeername,
            libc::SYS_setsockopt,
            libc::SYS_getsockopt,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_shutdown,
        ],
    },
    Calls {
        why: "waiting, signals and time",
        numbers: &[
            libc::SYS_ppoll,
            libc::SYS_eventfd2,
            libc::SYS_signalfd4,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_restart_syscall,
            libc::SYS_clock_gettime,
            libc::SYS_clock_getres,
            libc::SYS_clock_nanosleep,
            libc::SYS_nanosleep,
            libc::SYS_gettimeofday,
        ],
    },
    Calls {
        why: "memory",
        numbers: &[
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_getrandom,
        ],
    },
    Calls {
        why: "threads, what is known of this process, and its end",
        numbers: &[
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_futex,
            libc::SYS_set_robust_list,
            libc::SYS_set_tid_address,
            libc::SYS_rseq,
            libc::SYS_membarrier,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_yield,
            libc::SYS_getpriority,
            libc::SYS_setpriority,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_gettid,
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_uname,
            libc::SYS_tgkill,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ],
    },
    Calls { why: "older names of the same on this machine", numbers: OLDER },
];

/// cachestat(2), Linux 6.5, which has one number everywhere.
const CACHESTAT: i64 = 451;

#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// What nothing in this process asks for unless somebody else has taken it over.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
];

/// Families of sockets that may be made: local ones, and those that are listened on.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// What may be asked of a device or socket: what a client has not acknowledged, whether it is a
/// terminal, how much lies there, not to block, and that two files share blocks.
const ASKED: [u64; 5] = [0x5411, 0x5401, 0x541b, 0x5421, 0x4004_9409];

/// Puts the calling thread under the filters, and all that it starts.
pub(super) fn apply() -> Result<(), String> {
    let said = |error: seccompiler::Error| error.to_string();
    let (deadly, listed) = programs().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&deadly).map_err(said)?;
    seccompiler::apply_filter(&listed).map_err(said)
}

/// The two filters: of two answers the kernel takes the harder one.
fn programs() -> Result<(BpfProgram, BpfProgram), seccompiler::BackendError> {
    let machine = std::env::consts::ARCH.try_into()?;
    let deadly = DEADLY.iter().map(|number| (*number, Vec::new())).collect();
    let deadly =
        SeccompFilter::new(deadly, SeccompAction::Allow, SeccompAction::KillProcess, machine)?;
    let all = CALLS.iter().flat_map(|calls| calls.numbers);
    let mut listed: BTreeMap<_, _> = all.map(|number| (*number, Vec::new())).collect();
    let families = FAMILIES.iter().map(|family| equals(0, *family as u64));
    listed.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    let asked = ASKED.iter().map(|request| equals(1, *request));
    listed.insert(libc::SYS_ioctl, asked.collect::<Result<_, _>>()?);
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let listed = SeccompFilter::new(listed, refusal, SeccompAction::Allow, machine)?;
    Ok((deadly.try_into()?, listed.try_into()?))
}

fn equals(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let (length, is) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    SeccompRule::new(vec![SeccompCondition::new(argument, length, is, value)?])
}

/// Whether this kernel has filters, as far as it tells.
pub fn is_there() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nSeccomp:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice_or_deadly_too() {
        let all: Vec<_> = CALLS.iter().flat_map(|calls| calls.numbers).collect();
        for (index, number) in all.iter().enumerate() {
            assert!(!all[..index].contains(number), "{number} twice");
            assert!(!DEADLY.contains(number), "{number} is deadly");
        }
    }
}
