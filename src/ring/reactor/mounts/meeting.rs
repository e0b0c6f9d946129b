//! Meeting a mount: by the first file of it whose facts are told it is found out what may be
//! expected of the others.

use rustix::io::Errno;

use super::Reactor;
use crate::limits::{READ_AHEAD_KEPT, READ_AHEAD_UNTOLD};
use crate::ring::handle::File;
use crate::ring::io::Kernel;
use crate::ring::job::Job;
use crate::ring::job::mount::{FAR, local};
use crate::ring::mount::{MountKind, Noting, UNKNOWN_MOUNT};
use crate::ring::op::{Facts, FileKind, Look, Op, Start, Wake};

/// How much is read ahead from the devices of a mount, at most.
fn read_ahead(kernel: &impl Kernel, devices: &[(u32, u32)]) -> u64 {
    let told = |device: &(u32, u32)| kernel.read_ahead(*device);
    devices.iter().map(told).max().flatten().unwrap_or(READ_AHEAD_UNTOLD)
}

impl<K: Kernel> Reactor<K> {
    /// The facts of a file were told: it is of that mount.
    pub(in crate::ring::reactor) fn meet(&mut self, file: &File, facts: &Facts) {
        // Of what is met for the first time the mount may have come just now.
        let met_before = file.set_mount(facts.mount);
        let changes = match met_before {
            true => self.kernel.seen_mount_changes(),
            false => self.kernel.mount_changes(),
        };
        // One of which a file was open before is the same, and may have other options.
        if met_before || self.closing.files_of(facts.mount) > 1 {
            let place = self.mounts.place(facts.mount);
            let mount = &mut self.mounts.list[place];
            let is_local = mount.kind == MountKind::NonBlocking || mount.noting == Noting::Always;
            if mount.looked != changes && is_local {
                (mount.kind, mount.noting) = local(self.kernel.notes_access(file));
                self.tell_mounts();
            }
            self.mounts.confirm(facts.mount, changes);
        }
        self.keep_up_read_ahead(facts.mount);
        if self.mounts.know(facts, changes) {
            return;
        }
        if facts.mount == 0 || facts.kind != FileKind::Regular {
            return;
        }
        let place = self.mounts.enlist(facts.mount);
        if place == 0 {
            return;
        }
        let mount = &mut self.mounts.list[place];
        if mount.looked != changes {
            (mount.kind, mount.asked, mount.looked) = (MountKind::Unproven, false, changes);
            mount.devices.clear();
        }
        if !mount.devices.contains(&facts.device) {
            mount.devices.push(facts.device);
        }
        mount.read_ahead = read_ahead(&self.kernel, &mount.devices);
        mount.read_ahead_asked = self.now;
        if self.kernel.may_look_far(facts.mount) {
            // The wish alone is looked at before anything else is, and nothing is read that far
            // behind the end: this never blocks.
            let (look, offset) = (Look::Seen, FAR);
            let mut ask = Op::Resident { file: file.clone(), offset, count: 1, look };
            match self.kernel.execute(&mut ask) {
                Ok(_) => {
                    let told = local(self.kernel.notes_access(file));
                    return self.know_mount(facts.mount, changes, told);
                }
                Err(Errno::OPNOTSUPP) => {}
                // It may have failed before the wish was looked at (a signal, memory): nothing
                // follows for the mount, and its next file is asked.
                Err(_) => return,
            }
        }
        let (file, mount) = (file.clone(), facts.mount);
        let (kind, noting) = (MountKind::Unproven, Noting::default());
        let job = Job::Mount { file, mount, changes, kind, noting };
        let asked = matches!(self.submit(self.itself, Op::Job(job)), Start::Submitted(_));
        self.mounts.list[place].asked = asked;
    }

    /// Somebody may have raised it.
    fn keep_up_read_ahead(&mut self, mount: u64) {
        let place = self.mounts.place(mount);
        let mount = &mut self.mounts.list[place];
        if place > 0 && self.now.since(mount.read_ahead_asked) >= READ_AHEAD_KEPT {
            mount.read_ahead = read_ahead(&self.kernel, &mount.devices);
            mount.read_ahead_asked = self.now;
        }
    }

    /// What a mount is, as it was asked for after so many changes of mounts.
    pub(in crate::ring::reactor) fn know_mount(
        &mut self,
        mount: u64,
        changes: u64,
        (kind, noting): (MountKind, Noting),
    ) {
        let place = self.mounts.place(mount);
        let found = &mut self.mounts.list[place];
        // Another one may have its number now.
        if found.number == mount && mount != 0 && found.looked == changes {
            (found.kind, found.noting) = (kind, noting);
            // A look that failed is taken again with the next file.
            found.asked = false;
            // What may be read without waiting for the disk need not wait for those that do.
            self.wakes.extend(found.waiting.drain(..).map(|owner| (owner, Wake::Ready)));
        }
        self.tell_mounts();
    }

    fn tell_mounts(&self) {
        let known = || {
            let all = self.mounts.list.iter().skip(1);
            all.filter(|mount| mount.number != UNKNOWN_MOUNT)
        };
        self.stats.mounts.set(known().count() as u64);
        let blocking = known().filter(|mount| mount.kind.may_block()).count();
        self.stats.mounts_blocking.set(blocking as u64);
    }
}
