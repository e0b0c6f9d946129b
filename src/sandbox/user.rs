//! Becoming another user, once and for all.

use std::fmt;
use std::fs;

use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Who the process becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
    /// Other groups that name the user.
    groups: Vec<u32>,
}

/// Why there is no such user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError(String);

impl fmt::Display for UserError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for UserError {}

impl User {
    /// Reads a name, or numbers as `UID` or `UID:GID`. Names are looked for in /etc/passwd and
    /// /etc/group alone: other services answer by code that is loaded into the process.
    ///
    /// # Errors
    /// A sentence that names what is missing.
    pub fn look_up(text: &str) -> Result<Self, UserError> {
        Self::find(text, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    /// The number of the user.
    pub fn number(&self) -> u32 {
        self.uid
    }

    fn find(text: &str, users: &str, groups: &str) -> Result<Self, UserError> {
        let (name, group) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let gid = match group.map(str::parse::<u32>) {
            None => None,
            Some(Ok(gid)) => Some(gid),
            Some(Err(_)) => {
                return Err(UserError(format!("'{text}': write a name, UID or UID:GID")));
            }
        };
        let number = name.parse::<u32>().ok();
        let row = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|row| {
            let uid = row.get(2).and_then(|uid| uid.parse::<u32>().ok());
            row.first() == Some(&name) || number.is_some() && uid == number
        });
        let numbers = row.as_ref().and_then(|row| {
            Some((row.get(2)?.parse::<u32>().ok()?, row.get(3)?.parse::<u32>().ok()?))
        });
        let (uid, gid) = match (number, numbers, gid) {
            (_, Some((uid, own)), gid) => (uid, gid.unwrap_or(own)),
            (Some(uid), None, Some(gid)) => (uid, gid),
            (Some(uid), None, None) => (uid, uid),
            (None, None, _) => {
                let what = format!(
                    "there is no user '{name}' in /etc/passwd; make one, or write \
                                    UID:GID"
                );
                return Err(UserError(what));
            }
        };
        let named = row.map_or("", |row| row[0]);
        let member = |line: &&str| {
            let mut names = line.rsplit(':').next().unwrap_or("").split(',');
            !named.is_empty() && group.is_none() && names.any(|one| one == named)
        };
        let groups = groups.lines().filter(member);
        let groups = groups.filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
        let groups: Vec<u32> = groups;
        if [uid, gid].iter().chain(&groups).any(|id| *id == UNCHANGED) {
            return Err(UserError(format!(
                "'{text}': {UNCHANGED} is nobody's number: to the kernel it means to change \
                 nothing"
            )));
        }
        if uid == 0 {
            return Err(UserError(format!("'{text}' is root; name a user that may do less")));
        }
        Ok(Self { uid, gid, groups })
    }

    /// Whether every identity of this thread is the user's: what was believed to be given up and
    /// was not would be the worst of all.
    fn is_it(&self) -> Result<(), String> {
        let text = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let ids = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field));
            let ids = line.unwrap_or_default().split_whitespace();
            ids.filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
        };
        let own =
            [(getuid().as_raw(), geteuid().as_raw()), (getgid().as_raw(), getegid().as_raw())];
        let mut right = own == [(self.uid, self.uid), (self.gid, self.gid)];
        if !text.is_empty() {
            // The saved ones and those for files, too, where /proc tells them.
            right &= ids("Uid:") == [self.uid; 4] && ids("Gid:") == [self.gid; 4];
            right &= ids("Groups:").iter().all(|gid| self.groups.contains(gid));
        }
        if right { Ok(()) } else { Err("the kernel did not take all of it".to_owned()) }
    }

    /// Becomes this user, with this user's groups alone. Root's capabilities go with it.
    ///
    /// # Errors
    /// A sentence, for a process that may not.
    pub fn become_it(&self) -> Result<(), String> {
        if geteuid().as_raw() == self.uid && getegid().as_raw() == self.gid {
            return gives_up_capabilities();
        }
        if !geteuid().is_root() {
            return Err(format!(
                "only root becomes {}:{}, and this is user {}:{}; start the server as root, or \
                 leave the option out",
                self.uid,
                self.gid,
                geteuid().as_raw(),
                getegid().as_raw()
            ));
        }
        let said = |what: &str| {
            let what = what.to_owned();
            move |errno: rustix::io::Errno| format!("{what} cannot be taken: {errno}")
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<_> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups).map_err(said("the groups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(said("the group"))?;
        set_thread_res_uid(uid, uid, uid).map_err(said("the user"))?;
        self.is_it()?;
        gives_up_capabilities()
    }
}

/// Whether this process may do what root may.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// What the calls that set an identity take for "leave it as it is" (setresuid(2)).
const UNCHANGED: u32 = u32::MAX;

/// A file of users. What is not UTF-8 in it, a name or a remark, is nobody's who is asked for.
fn read(path: &str) -> Result<String, UserError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(UserError(format!("{path}: {error}"))),
    }
}

/// Who starts the process may have given it some, beyond those of its user.
fn gives_up_capabilities() -> Result<(), String> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none)
        .map_err(|errno| format!("the capabilities cannot be given up: {errno}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:www:/var/www:/bin/false\n";
    const GROUPS: &str = "root:x:0:\nlog:x:7:syslog,www-data\nother:x:8:www-data2\n";

    #[test]
    fn users_are_named_or_numbered() {
        let find = |text| User::find(text, USERS, GROUPS);
        let www = User { uid: 33, gid: 34, groups: vec![7] };
        assert_eq!(find("www-data"), Ok(www.clone()));
        assert_eq!(find("33"), Ok(www));
        assert_eq!(find("33:99"), Ok(User { uid: 33, gid: 99, groups: vec![] }));
        assert_eq!(find("500:600"), Ok(User { uid: 500, gid: 600, groups: vec![] }));
        assert_eq!(find("500").unwrap().gid, 500);
        assert!(find("nobody-such").unwrap_err().to_string().contains("no user 'nobody-such'"));
        assert!(find("www-data:log").is_err());
        assert!(find("root").unwrap_err().to_string().contains("is root"));
        assert!(find("0:5").is_err());
        // To setresuid(2) this would be no user, but no change: root would stay root.
        for text in ["4294967295", "4294967295:5", "5:4294967295", "all"] {
            let users = format!("{USERS}all:x:4294967295:5::/:/bin/sh\n");
            let refused = User::find(text, &users, GROUPS).unwrap_err().to_string();
            assert!(refused.contains("nobody's number"), "{text}: {refused}");
        }
        let groups = format!("{GROUPS}odd:x:4294967295:www-data\n");
        assert!(User::find("www-data", USERS, &groups).is_err());
    }
}
