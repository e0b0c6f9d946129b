//! One row for each thing that is looked at.

use super::probes;
use super::report::Finding;
use super::scene::Scene;

/// A thing that is looked at.
#[derive(Debug)]
pub struct Probe {
    /// Its name, in the report and in the JSON.
    pub name: &'static str,
    /// What it looks at.
    pub looks_at: &'static str,
    /// What to do when it is not as it should be, unless the finding knows better.
    pub remedy: &'static str,
    pub(super) look: for<'a> fn(&Scene<'a>) -> Vec<Finding>,
}

/// Every probe, in the order of the report: the machine, the mounts, the names.
pub static PROBES: &[Probe] = &[
    Probe {
        name: "kernel",
        looks_at: "the release of the kernel",
        remedy: "run Linux 6.1 or newer",
        look: probes::kernel::look,
    },
    Probe {
        name: "io_uring",
        looks_at: "a ring of the server's kind, one no-op on it, and the operations it knows",
        remedy: "allow io_uring_setup, io_uring_enter and io_uring_register",
        look: probes::io_uring::look,
    },
    Probe {
        name: "sandbox",
        looks_at: "Landlock, seccomp filters and restrictions of rings",
        remedy: "run Linux 6.12 or newer, with landlock among its lsm=",
        look: probes::sandbox::look,
    },
    Probe {
        name: "memory",
        looks_at: "the memory that this process may have, and what the budgets come to",
        remedy: "raise the limit of the control group (MemoryMax=), or lower head-buffers, \
                 body-buffers, direct-cache, hot-cache and listing-memory",
        look: probes::memory::look,
    },
    Probe {
        name: "pressure",
        looks_at: "the file that tells when memory becomes short: that of the control group, or \
                   the machine's",
        remedy: "mount the control groups of version 2 to be written to, or hand the group down \
                 (Delegate=yes); until then memory that is short in the group alone is not noticed",
        look: probes::pressure::look,
    },
    Probe {
        name: "memlock",
        looks_at: "the limit of locked memory, and memory registered with a ring",
        remedy: "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=) above body-buffers \
                 and direct-cache together, or lower these",
        look: probes::memlock::look,
    },
    Probe {
        name: "descriptors",
        looks_at: "the limit of open descriptors, and what the configuration may need",
        remedy: "raise the limit (ulimit -n, LimitNOFILE=), or lower connections and open-files",
        look: probes::descriptors::look,
    },
    Probe {
        name: "pipes",
        looks_at: "the size of a pipe that this user gets, and how many of them",
        remedy: "raise fs.pipe-user-pages-soft and fs.pipe-max-size (sysctl -w)",
        look: probes::pipes::look,
    },
    Probe {
        name: "congestion",
        looks_at: "how TCP controls congestion",
        remedy: "for clients far away try bbr: modprobe tcp_bbr, then \
                 sysctl -w net.ipv4.tcp_congestion_control=bbr",
        look: probes::congestion::look,
    },
    Probe {
        name: "huge_pages",
        looks_at: "huge pages that are set aside, and transparent ones",
        remedy: "set /sys/kernel/mm/transparent_hugepage/enabled to madvise, or set huge pages \
                 aside by vm.nr_hugepages",
        look: probes::huge_pages::look,
    },
    Probe {
        name: "cores",
        looks_at: "the processors of the machine, and those this process may use",
        remedy: "set workers to the processors that may be used, or to auto",
        look: probes::cores::look,
    },
    Probe {
        name: "inotify",
        looks_at: "the limits of inotify, and a watch on each mount",
        remedy: "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl -w)",
        look: probes::inotify::look,
    },
    Probe {
        name: "file_system",
        looks_at: "the file system of each mount, and whether a read can be told not to wait",
        remedy: "files there are read by the ring, on threads of the kernel; serve hot ones from a \
                 local disk",
        look: probes::file_system::look,
    },
    Probe {
        name: "direct",
        looks_at: "the alignment of O_DIRECT, as statx says it and as a read is taken",
        remedy: "use another engine than direct for files there",
        look: probes::direct::look,
    },
    Probe {
        name: "reflink",
        looks_at: "whether two files may share blocks, tried with files without names",
        remedy: "nothing: only copies, as archives of the access log, cost more there",
        look: probes::reflink::look,
    },
    Probe {
        name: "links",
        looks_at: "symbolic links beneath the root that are not served",
        remedy: "make them relative, and have them stay beneath the root",
        look: probes::links::look,
    },
    Probe {
        name: "variants",
        looks_at: "precompressed neighbours (.br, .zst, .gz) that are older than their originals",
        remedy: "make them anew; with precompressed = \"fresh\" they are not served, with \"on\" \
                 they are",
        look: probes::variants::look,
    },
    Probe {
        name: "permissions",
        looks_at: "files and directories beneath the root that this user may not read",
        remedy: "let this user read them (chmod o+r, and o+rx for directories)",
        look: probes::permissions::look,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_a_remedy() {
        for (index, row) in PROBES.iter().enumerate() {
            assert!(PROBES[..index].iter().all(|other| other.name != row.name), "{}", row.name);
            for text in [row.looks_at, row.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", row.name);
            }
        }
    }
}
