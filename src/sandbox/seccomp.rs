//! seccomp: the calls of the kernel that a server makes, and no others.
//!
//! The list was measured: every call of the server in its tests, by strace(1), with all engines,
//! listings, content tags, logs, archives, reloads and hand-overs, and beside each what the C
//! libraries use in its place. What is not on it fails with EPERM. What is newer than most kernels
//! fails with ENOSYS, as it does there, so that a C library that tries it goes on with what is
//! older. What has no innocent use here ends the process, by SIGSYS, which
//! whoever supervises it sees, and which the kernel logs. A call that fails is logged by nobody:
//! the filters would have to be installed with SECCOMP_FILTER_FLAG_LOG, which seccompiler does not
//! do; strace(1) shows it.
//!
//! A filter sees no operation of an io_uring. The rings of the server are restricted one by one;
//! who has taken the process over could make another one, since a reload has to. What such a ring
//! opens Landlock judges as any other open.

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
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_unlinkat,
            libc::SYS_mkdirat,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
        ],
    },
    Calls {
        why: "a successor, the broker and its end, the service manager",
        numbers: &[
            libc::SYS_accept4,
            libc::SYS_wait4,
            libc::SYS_waitid,
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
            libc::SYS_futex,
            libc::SYS_set_robust_list,
            libc::SYS_set_tid_address,
            libc::SYS_rseq,
            libc::SYS_membarrier,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_yield,
            libc::SYS_getpriority,
            libc::SYS_prctl,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_gettid,
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_capget,
            libc::SYS_uname,
            libc::SYS_tgkill,
            libc::SYS_tkill,
            libc::SYS_sysinfo,
            libc::SYS_getcpu,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ],
    },
    Calls { why: "older names of the same on this machine", numbers: OLDER },
];

/// Sockets of one's own that listen: calls of a server without a broker, which would make them.
/// socket(2), which goes by the family, is the same.
const BINDING: &[i64] = &[libc::SYS_bind, libc::SYS_listen, libc::SYS_connect];

/// What a thread changes of itself, and what may be named by no number of a process: which argument
/// is 0 then. The first one of setpriority(2) is PRIO_PROCESS.
const OF_ITSELF: &[(i64, &[u8])] = &[
    (libc::SYS_sched_setaffinity, &[0]),
    (libc::SYS_setpriority, &[0, 1]),
    (libc::SYS_prlimit64, &[0]),
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
    libc::SYS_renameat,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
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

/// Threads of this process are made, and no other processes, and no name spaces: they would give a
/// process without privileges rights over what it finds there.
const THREAD: u64 = libc::CLONE_THREAD as u64;
const NAME_SPACES: u64 = (libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS) as u64;

/// Puts the calling thread under the filters, and all that it starts. `binds` leaves it the calls
/// that make a socket which listens.
pub(super) fn apply(binds: bool) -> Result<(), String> {
    let programs = programs(binds).map_err(|error| error.to_string())?;
    let mut all = programs.iter();
    all.try_for_each(|one| seccompiler::apply_filter(one)).map_err(|error| error.to_string())
}

/// The filters: of several answers the kernel takes the hardest.
fn programs(binds: bool) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let machine = std::env::consts::ARCH.try_into()?;
    let deadly = DEADLY.iter().map(|number| (*number, Vec::new())).collect();
    let deadly =
        SeccompFilter::new(deadly, SeccompAction::Allow, SeccompAction::KillProcess, machine)?;
    let all = CALLS.iter().flat_map(|calls| calls.numbers);
    let mut listed: BTreeMap<_, _> = all.map(|number| (*number, Vec::new())).collect();
    if binds {
        listed.extend(BINDING.iter().map(|number| (*number, Vec::new())));
        let families = FAMILIES.iter().map(|family| equals(0, *family as u64));
        listed.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    }
    let threads = SeccompCmpOp::MaskedEq(NAME_SPACES | THREAD);
    let threads = SeccompCondition::new(0, SeccompCmpArgLen::Qword, threads, THREAD)?;
    for (number, arguments) in OF_ITSELF {
        let all = arguments.iter().map(|argument| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)
        });
        listed.insert(*number, vec![SeccompRule::new(all.collect::<Result<_, _>>()?)?]);
    }
    listed.insert(libc::SYS_clone, vec![SeccompRule::new(vec![threads])?]);
    let asked = ASKED.iter().map(|request| equals(1, *request));
    listed.insert(libc::SYS_ioctl, asked.collect::<Result<_, _>>()?);
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let listed = SeccompFilter::new(listed, refusal, SeccompAction::Allow, machine)?;
    let mut answered = absent();
    answered.extend(BpfProgram::try_from(listed)?);
    Ok([deadly.try_into()?, answered])
}

/// The begin of a filter: calls that are said to be absent. The rest of the filter judges others.
///
/// A filter does not see the flags of clone3(2), which lie in memory; a C library that is told that
/// there is no such call takes clone(2). Calls from NEWER on, most of which nobody knows yet, are
/// too many for a list, which the kernel would walk with each call.
fn absent() -> BpfProgram {
    let step = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    // From linux/bpf_common.h: load a word, jump if equal, jump if not less, answer.
    let (load, is, from, answer) = (0x20, 0x15, 0x35, 0x06);
    vec![
        step(load, 0, 0, number),
        step(is, 2, 0, libc::SYS_clone3 as u32),
        step(is, 2, 0, CACHESTAT as u32),
        step(from, 0, 1, NEWER),
        step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

/// The first number that openat2(2), faccessat2(2) and what came before do not have:
/// epoll_pwait2(2) of Linux 5.11. From 424 on a call has one number everywhere.
const NEWER: u32 = 441;

fn equals(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let (length, is) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    SeccompRule::new(vec![SeccompCondition::new(argument, length, is, value)?])
}

/// Whether this kernel has filters, as far as it tells.
pub fn is_there() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nSeccomp:"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// What a filter answers to a call, step by step as the kernel would (bpf(4)).
    fn answer(program: &BpfProgram, call: i64, first: u64) -> u32 {
        answer_to(program, call, [first, 0])
    }

    fn answer_to(program: &BpfProgram, call: i64, arguments: [u64; 2]) -> u32 {
        let first = arguments[0];
        let machine = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        let word = |offset: u32| match offset as usize {
            at if at == offset_of!(libc::seccomp_data, nr) => call as u32,
            at if at == offset_of!(libc::seccomp_data, arch) => machine,
            at if at == offset_of!(libc::seccomp_data, args) => first as u32,
            at if at == offset_of!(libc::seccomp_data, args) + 4 => (first >> 32) as u32,
            at if at == offset_of!(libc::seccomp_data, args) + 8 => arguments[1] as u32,
            at => panic!("nothing is known of byte {at}"),
        };
        let (mut at, mut held) = (0, 0u32);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                0x20 => held = word(step.k),
                0x54 => held &= step.k,
                0x05 => at += step.k as usize,
                0x15 => at += jump(held == step.k),
                0x25 => at += jump(held > step.k),
                0x35 => at += jump(held >= step.k),
                0x06 => return step.k,
                code => panic!("step {code:#x} is not known"),
            }
        }
    }

    #[test]
    fn threads_are_made_and_neither_name_spaces_nor_sockets() {
        let [deadly, listed] = programs(false).unwrap();
        let allowed = libc::SECCOMP_RET_ALLOW;
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
        assert_eq!(answer(&listed, libc::SYS_clone, thread), allowed);
        for space in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET] {
            assert_eq!(answer(&listed, libc::SYS_clone, thread | space as u64), refused);
        }
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        assert_eq!(answer(&listed, libc::SYS_clone, libc::SIGCHLD as u64), refused, "a process");
        assert_eq!(answer(&listed, libc::SYS_clone, libc::CLONE_VM as u64), refused);
        // fchmodat2, futex_waitv, epoll_pwait2, map_shadow_stack, futex_wake, mseal, and others.
        for call in [libc::SYS_clone3, 452, 449, 441, 453, 454, 462, 500, 1 << 20] {
            assert_eq!(answer(&listed, call, 0), absent, "{call}");
        }
        assert_eq!(answer(&listed, libc::SYS_mlock, 0), refused);
        for call in [CACHESTAT, libc::SYS_openat2, libc::SYS_faccessat2, libc::SYS_tkill] {
            assert_eq!(answer(&listed, call, 0), allowed, "{call}");
        }
        for call in [libc::SYS_sched_setaffinity, libc::SYS_setpriority, libc::SYS_prlimit64] {
            assert_eq!(answer_to(&listed, call, [0, 0]), allowed);
            assert_eq!(answer_to(&listed, call, [7, 0]), refused, "of another one");
        }
        assert_eq!(answer_to(&listed, libc::SYS_setpriority, [0, 7]), refused);
        assert_eq!(answer(&deadly, libc::SYS_execve, 0), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(answer(&deadly, libc::SYS_read, 0), allowed);
        let family = libc::AF_INET as u64;
        let [.., binding] = programs(true).unwrap();
        for call in [libc::SYS_bind, libc::SYS_listen, libc::SYS_connect, libc::SYS_socket] {
            assert_eq!(answer(&listed, call, family), refused);
            assert_eq!(answer(&binding, call, family), allowed);
        }
        assert_eq!(answer(&binding, libc::SYS_socket, libc::AF_NETLINK as u64), refused);
    }

    #[test]
    fn no_call_is_listed_twice_or_deadly_too() {
        let all: Vec<_> = CALLS.iter().flat_map(|calls| calls.numbers).collect();
        for (index, number) in all.iter().enumerate() {
            assert!(!all[..index].contains(number), "{number} twice");
            assert!(!DEADLY.contains(number), "{number} is deadly");
        }
    }
}
