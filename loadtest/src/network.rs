//! The network between generator and servers: loopback or a pair of network namespaces, and the
//! congestion control of all connections, which is never changed for the machine itself.

use std::env;
use std::io::{self, Error};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;
use serde::Serialize;

/// The ends of the pair, in the network for documentation (RFC 5737).
const GENERATOR: &str = "192.0.2.1";
const SERVERS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The network of both, whose clients may read figures.
const BOTH: &str = "192.0.2.0/24";

/// What lies between generator and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The loopback device, with packets of 64 KiB
    #[default]
    Loopback,
    /// Two network namespaces and a pair of devices with an MTU of 1500 (as root, with iproute2)
    Pair,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network {
    kind: Kind,
    /// Holds the servers' namespace open.
    holder: Option<Child>,
}

/// Goes on in a network namespace of its own, in which routes may be changed. Returns only if
/// that cannot be.
pub(crate) fn enter_namespace(flag: &str) -> Error {
    let Ok(own) = env::current_exe() else { return Error::other("no path of this program") };
    let mut command = Command::new("unshare");
    command.arg("--net").arg(own).args(env::args_os().skip(1)).arg(flag).exec()
}

impl Network {
    /// The network of this machine, or what `kind` asks for in a namespace that was entered.
    pub(crate) fn new(kind: Kind, in_namespace: bool) -> io::Result<Self> {
        let mut network = Self { kind, holder: None };
        if in_namespace {
            ip("link set lo up")?;
        }
        if kind == Kind::Pair {
            let mut command = Command::new("unshare");
            command.args(["--net", "sleep", "infinity"]).stdin(Stdio::null());
            let holder = network.holder.insert(command.spawn()?);
            let id = holder.id();
            wait_for_namespace(id)?;
            ip(&format!("link add generator mtu 1500 type veth peer name servers netns {id}"))?;
            ip(&format!("address add {GENERATOR}/24 dev generator"))?;
            ip("link set generator up")?;
            network.there("link set lo up")?;
            network.there(&format!("address add {SERVERS}/24 dev servers"))?;
            network.there("link set servers mtu 1500 up")?;
        }
        Ok(network)
    }

    /// The address that servers listen on.
    pub(crate) fn host(&self) -> IpAddr {
        match self.kind {
            Kind::Loopback => Ipv4Addr::LOCALHOST.into(),
            Kind::Pair => SERVERS.into(),
        }
    }

    /// The servers' namespace, if it is not this one.
    pub(crate) fn namespace(&self) -> Option<String> {
        self.holder.as_ref().map(|holder| format!("/proc/{}/ns/net", holder.id()))
    }

    /// What pitcrew has to be told, so that the generator may read its figures.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self.kind {
            Kind::Loopback => Vec::new(),
            Kind::Pair => vec!["--telemetry-allow".to_owned(), BOTH.to_owned()],
        }
    }

    /// Gives every connection from now on a congestion control. A route asks for it, since the
    /// default of a namespace can be set to few of them.
    pub(crate) fn use_congestion(&self, name: &str) -> io::Result<()> {
        match self.kind {
            Kind::Loopback => ["127.0.0.0/8", "127.0.0.1"].into_iter().try_for_each(|to| {
                ip(&format!(
                    "route replace table local local {to} dev lo proto kernel scope host \
                     src 127.0.0.1 congctl {name}"
                ))
            }),
            Kind::Pair => {
                let route = |device, from: &str| {
                    format!(
                        "route replace {BOTH} dev {device} proto kernel scope link src {from} \
                         congctl {name}"
                    )
                };
                ip(&route("generator", GENERATOR))?;
                self.there(&route("servers", &SERVERS.to_string()))
            }
        }
    }

    /// Runs ip(8) in the servers' namespace.
    fn there(&self, arguments: &str) -> io::Result<()> {
        let place = self.namespace().expect("only a pair has another side");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={place}")).arg("ip").args(arguments.split_whitespace());
        run(command, arguments)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            // The devices go away with the last process of the namespace.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Waits until a child has a network namespace of its own.
fn wait_for_namespace(id: u32) -> io::Result<()> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    for _ in 0..1000 {
        if std::fs::read_link(format!("/proc/{id}/ns/net"))? != own {
            return Ok(());
        }
        std::thread::sleep(crate::process::LOOK);
    }
    Err(Error::other("unshare makes no network namespace; this needs root"))
}

fn ip(arguments: &str) -> io::Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments.split_whitespace());
    run(command, arguments)
}

fn run(mut command: Command, what: &str) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        Error::new(
            error.kind(),
            format!("ip {what}: {error}; install it: apt-get install iproute2"),
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::other(format!("ip {what}: {said}")))
}
