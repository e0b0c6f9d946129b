//! What is wrong or odd between rules that are each right by themselves: those that can never
//! apply because of another, and files and directories that they name and that are not there.

use std::path::Path;

use super::effective::Settings;
use super::loops;
use super::problem::{Problem, Source};
use super::rules::Places;
use crate::limits::CONFIGURED_FIELDS_BYTES_MAX;
use crate::resource::options::{Glob, Host, Options as SiteOptions};
use crate::server::options::{Kind, clash};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// What cannot be meant.
    pub(super) errors: Vec<Problem>,
    /// What has no effect, or none today.
    pub(super) warnings: Vec<Problem>,
}

/// Looks at the rules of all hosts. `hosts` are the places of [`Settings`]' hosts, in order.
/// `sources` says where a key was written.
pub(super) fn find(
    settings: &Settings,
    site: &Places,
    hosts: &[Places],
    sources: impl Fn(&str) -> Source,
) -> Conflicts {
    let mut found = Conflicts::default();
    let server = &settings.server;
    let own = server.telemetry.paths_of_site();
    found.own_paths(settings, &sources);
    found.mirror(settings, &sources);
    found.host(&server.site, site, &own);
    found.names(&server.hosts, hosts);
    for (host, places) in server.hosts.iter().zip(hosts) {
        // Rules that are inherited were looked at where they stand.
        let rules = own_rules(host, &server.site);
        found.host(&rules, places, &own);
        if let Some(source) = &places.root {
            found.root(&rules.root, source);
        }
    }
    found
}

/// The rules of a host without those that it inherits.
fn own_rules(host: &Host, site: &SiteOptions) -> SiteOptions {
    let mut own = host.over(site);
    own.fields = host.fields.clone().unwrap_or_default();
    own.cors = host.cors.clone().unwrap_or_default();
    own.errors = host.errors.clone().unwrap_or_default();
    own.redirects = host.redirects.clone().unwrap_or_default();
    own.rates = host.rates.clone().unwrap_or_default();
    own.mounts = host.mounts.clone().unwrap_or_default();
    own
}

impl Conflicts {
    fn warn(&mut self, source: &Source, message: String) {
        self.warnings.push(Problem { source: source.clone(), message });
    }

    fn refuse(&mut self, source: &Source, message: String) {
        self.errors.push(Problem { source: source.clone(), message });
    }

    /// Paths and addresses of the server's own that are in each other's way, and files that the
    /// paths hide.
    fn own_paths(&mut self, settings: &Settings, source: &impl Fn(&str) -> Source) {
        let server = &settings.server;
        let telemetry = &server.telemetry;
        let paths = [
            (&telemetry.path, "telemetry-path"),
            (&telemetry.health_path, "health-path"),
            (&telemetry.ready_path, "ready-path"),
        ];
        for (at, (path, key)) in paths.iter().enumerate() {
            if let Some((_, first)) = paths[..at].iter().find(|(other, _)| other == path) {
                let message = format!("'{path}' is both {first} and {key}; set one to another");
                // One of the two was written.
                let written = [source(key), source(first)];
                let written = written.iter().find(|one| **one != Source::Default);
                self.refuse(written.unwrap_or(&Source::Default), message);
            }
        }
        for listen in &telemetry.listen {
            if let Some(other) = server.listen.iter().find(|other| clash(other, listen)) {
                let message = format!(
                    "{listen} is where the site listens ({other}); leave telemetry-listen out, or \
                     set it to another address"
                );
                self.refuse(&source("telemetry-listen"), message);
            }
        }
        if server.proxy_protocol && server.trusted_proxies.is_nobody() {
            let message = "proxy-protocol is believed of nobody; name the proxies by \
                trusted-proxies = [\"10.0.0.0/8\"], or leave it out";
            self.refuse(&source("proxy-protocol"), message.to_owned());
        }
        for (path, key) in telemetry.paths_of_site() {
            let mut roots: Vec<_> = server.sites().into_iter().map(|site| site.root).collect();
            roots.dedup();
            for root in roots.iter().filter(|root| root.join(&path[1..]).exists()) {
                self.warn(&source(key), hidden(path, root, key));
            }
        }
    }

    /// Bodies that are to be mirrored and are not, or that nobody learns of.
    fn mirror(&mut self, settings: &Settings, source: &impl Fn(&str) -> Source) {
        let server = &settings.server;
        let log = &server.access_log;
        if log.mirror.paths.is_empty() {
            return;
        }
        if !log.is_on() {
            let message = "nothing is mirrored without an access log; set access-log";
            self.warn(&source("mirror"), message.to_owned());
        }
        if server.engine != Kind::Splice {
            let message = format!(
                "nothing is mirrored by the engine {}; set engine = \"splice\"",
                server.engine
            );
            self.warn(&source("mirror"), message);
        }
        if log.is_on() && !log.format.tells_mirror() {
            let message = "the digests of mirrored bodies are in no record: the format has no \
                           $mirror; set access-log-format = \"json\", or name it in the template";
            let key = source("access-log-format");
            let key = if key == Source::Default { source("mirror") } else { key };
            self.warn(&key, message.to_owned());
        }
    }

    fn host(&mut self, host: &SiteOptions, places: &Places, own: &[(&str, &str)]) {
        self.redirects(host, places, own);
        self.mounts(host, places, own);
        self.globs(host, places);
        self.sizes(host, places);
        self.files(host, places);
    }

    /// Fields that would not fit a head, were all of them to meet in one answer.
    fn sizes(&mut self, host: &SiteOptions, places: &Places) {
        const MOST: usize = CONFIGURED_FIELDS_BYTES_MAX;
        let edits = host.fields.iter().flat_map(|rule| &rule.edits);
        let bytes: usize =
            edits.map(|edit| edit.name().len() + edit.value().map_or(0, str::len) + 4).sum();
        if let Some(last) = places.fields.last().filter(|_| bytes > MOST) {
            let message = format!("the fields of this host add {bytes} bytes; at most {MOST}");
            self.refuse(last, message);
        }
        for (rule, source) in host.cors.iter().zip(&places.cors) {
            let bytes = rule.cors.bytes();
            if bytes > MOST {
                let message = format!("this rule adds {bytes} bytes to an answer; at most {MOST}");
                self.refuse(source, message);
            }
        }
    }

    fn names(&mut self, hosts: &[Host], places: &[Places]) {
        let mut seen: Vec<(&str, &Source)> = Vec::new();
        for (host, places) in hosts.iter().zip(places) {
            for (name, source) in host.names.iter().zip(&places.names) {
                match seen.iter().find(|(known, _)| *known == name.text()) {
                    Some((_, first)) => {
                        let message = format!(
                            "the name '{}' belongs to a host already, at {first}; leave one out",
                            name.text()
                        );
                        self.refuse(source, message);
                    }
                    None => seen.push((name.text(), source)),
                }
            }
        }
    }

    fn redirects(&mut self, host: &SiteOptions, places: &Places, own: &[(&str, &str)]) {
        self.errors.extend(loops::find(host, places));
        for (at, (redirect, source)) in host.redirects.iter().zip(&places.redirects).enumerate() {
            let earlier = host.redirects[..at].iter().zip(&places.redirects);
            let mut covering = earlier.filter(|(one, _)| one.from.covers(&redirect.from));
            if let Some((one, first)) = covering.next() {
                let message = format!(
                    "the redirect from '{}' never applies: that from '{}' at {first} comes \
                     first; put it behind or leave it out",
                    redirect.from, one.from
                );
                self.warn(source, message);
                continue;
            }
            for (path, key) in own {
                if redirect.from.literal() == Some(&path.as_bytes()[1..]) {
                    let message = format!(
                        "the redirect from '{path}' does not apply where the server answers \
                         itself; set {key} to another path"
                    );
                    self.warn(source, message);
                }
            }
        }
    }

    fn mounts(&mut self, host: &SiteOptions, places: &Places, own: &[(&str, &str)]) {
        for (at, (mount, source)) in host.mounts.iter().zip(&places.mounts).enumerate() {
            let mut earlier = host.mounts[..at].iter().zip(&places.mounts);
            if let Some((_, first)) = earlier.find(|(one, _)| one.path == mount.path) {
                let message =
                    format!("'{}' is mounted already, at {first}; leave one out", mount.path);
                self.refuse(source, message);
            }
            if let Ok(all) = Glob::new(&format!("{}**", mount.path)) {
                let hidden = host.redirects.iter().find(|one| one.from.covers(&all));
                if let Some(redirect) = hidden {
                    let message = format!(
                        "nothing of the mount '{}' is served: the redirect from '{}' comes first",
                        mount.path, redirect.from
                    );
                    self.warn(source, message);
                }
            }
            if mount.path.split('/').any(is_hidden) && !host.dotfiles {
                let message = format!(
                    "nothing of the mount '{}' is served: its name begins with a dot; set \
                     dotfiles = true or name it otherwise",
                    mount.path
                );
                self.warn(source, message);
            }
            for (path, key) in own {
                if let Some(file) = path.strip_prefix(&*mount.path)
                    && mount.root.join(file).exists()
                {
                    self.warn(source, hidden(path, &mount.root, key));
                }
            }
            self.root(&mount.root, source);
        }
    }

    /// Globs that match nothing that is ever served, and rules behind one that takes all.
    fn globs(&mut self, host: &SiteOptions, places: &Places) {
        let fields = host.fields.iter().map(|rule| &rule.globs).zip(&places.fields);
        let cors = host.cors.iter().map(|rule| &rule.globs).zip(&places.cors);
        let rates = host.rates.iter().map(|rule| &rule.globs).zip(&places.rates);
        for (globs, source) in fields.chain(cors).chain(rates) {
            for glob in globs {
                if glob.text().split('/').any(is_hidden) && !host.dotfiles {
                    let message = format!(
                        "'{glob}' never matches: names that begin with a dot are not served; \
                         set dotfiles = true or leave it out"
                    );
                    self.warn(source, message);
                }
                if let Some(redirect) = host.redirects.iter().find(|one| one.from.covers(glob)) {
                    let message = format!(
                        "'{glob}' never matches a file: the redirect from '{}' comes first",
                        redirect.from
                    );
                    self.warn(source, message);
                }
            }
        }
        for (rule, source) in host.fields.iter().zip(&places.fields) {
            let directories = |glob: &&Glob| glob.text().ends_with('/');
            if let Some(glob) =
                rule.globs.iter().find(directories).filter(|_| !rule.always && !host.listing)
            {
                let message = format!(
                    "'{glob}' never matches: no path of a file ends in a slash; write '{glob}**'"
                );
                self.warn(source, message);
            }
        }
        for (at, (rule, source)) in host.cors.iter().zip(&places.cors).enumerate() {
            let earlier = || host.cors[..at].iter().flat_map(|rule| &rule.globs);
            let covered = |glob: &Glob| earlier().any(|one| one.covers(glob));
            if !rule.globs.is_empty() && rule.globs.iter().all(covered) {
                let message = "this cors rule never applies: those before it match all of its \
                               paths; put it first or leave it out";
                self.warn(source, message.to_owned());
            }
        }
    }

    /// Files that are named and not there. They may come with the next deployment.
    fn files(&mut self, host: &SiteOptions, places: &Places) {
        let missing = |file: &str| !host.root.join(file).is_file();
        for (page, source) in host.errors.iter().zip(&places.errors) {
            if missing(&page.file) {
                let message = format!(
                    "the page '{}' is not a file beneath '{}'; {} gets the plain notice",
                    page.file,
                    host.root.display(),
                    page.status.code()
                );
                self.warn(source, message);
            }
        }
        if let (Some(file), Some(source)) = (&host.fallback, &places.fallback)
            && missing(file)
        {
            let root = host.root.display();
            self.warn(source, format!("the fallback '{file}' is not a file beneath '{root}'"));
        }
    }

    fn root(&mut self, root: &Path, source: &Source) {
        if !root.is_dir() {
            let message = format!(
                "'{}' is not a directory; create it or name the one that is meant",
                root.display()
            );
            self.refuse(source, message);
        }
    }
}

/// A file that nobody gets, or only who may not have what stands in its place.
fn hidden(path: &str, root: &Path, key: &str) -> String {
    format!(
        "'{path}' of '{}' is hidden by what the server answers there itself; set {key} to another \
         path",
        root.display()
    )
}

fn is_hidden(segment: &str) -> bool {
    segment.starts_with('.') && segment != ".well-known"
}
