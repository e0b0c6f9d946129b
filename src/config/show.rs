//! Rules as the file would have them.

use toml::{Table, Value};

use super::effective::Settings;
use super::written::{show_size, show_time};
use crate::resource::options::{
    CorsRule, ErrorPage, FieldRule, Glob, Host, MediaTable, Mount, RateRule, Redirect,
};

/// The tables of the file, those of hosts last. Empty ones are left out.
pub(super) fn tables(settings: &Settings) -> Table {
    let site = &settings.server.site;
    let mut out = Table::new();
    put(&mut out, "fields", list(&site.fields, fields));
    put(&mut out, "cors", list(&site.cors, cors));
    put(&mut out, "errors", errors(&site.errors));
    put(&mut out, "redirects", list(&site.redirects, redirect));
    put(&mut out, "mounts", list(&site.mounts, mount));
    put(&mut out, "rates", list(&site.rates, rate));
    put(&mut out, "media", media(&site.media));
    put(&mut out, "hosts", list(&settings.server.hosts, host));
    out
}

fn host(host: &Host) -> Table {
    let mut out = Table::new();
    let names = host.names.iter().map(|name| Value::from(name.text()));
    out.insert("names".to_owned(), Value::Array(names.collect()));
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    set("root", host.root.as_ref().map(|root| Value::from(root.to_string_lossy().into_owned())));
    set("index", host.index.as_ref().map(|index| Value::from(index.clone())));
    set("dotfiles", host.dotfiles.map(Value::from));
    let fallback = host.fallback.as_ref();
    set("fallback", fallback.map(|file| Value::from(file.as_deref().unwrap_or("off"))));
    set("forbidden", host.forbidden.map(|status| Value::from(status.name())));
    // An empty table of a host is not nothing: it takes the place of the site's.
    set("fields", host.fields.as_deref().map(|all| list(all, fields)));
    set("cors", host.cors.as_deref().map(|all| list(all, cors)));
    set("errors", host.errors.as_deref().map(errors));
    set("redirects", host.redirects.as_deref().map(|all| list(all, redirect)));
    set("mounts", host.mounts.as_deref().map(|all| list(all, mount)));
    set("rates", host.rates.as_deref().map(|all| list(all, rate)));
    set("media", host.media.as_ref().map(media));
    out
}

fn fields(rule: &FieldRule) -> Table {
    let mut out = Table::new();
    out.insert("match".to_owned(), globs(&rule.globs));
    let set = rule.edits.iter().filter_map(|edit| Some((edit.name(), edit.value()?)));
    let set: Table = set.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    put(&mut out, "set", Value::Table(set));
    let removed = rule.edits.iter().filter(|edit| edit.value().is_none());
    put(&mut out, "remove", Value::Array(removed.map(|edit| edit.name().into()).collect()));
    out.insert("always".to_owned(), Value::from(rule.always));
    out
}

fn cors(rule: &CorsRule) -> Table {
    let parts = rule.cors.parts();
    let mut out = Table::new();
    out.insert("match".to_owned(), globs(&rule.globs));
    let lists = [
        ("origins", parts.origins),
        ("methods", parts.methods),
        ("headers", parts.headers),
        ("expose", parts.expose),
    ];
    for (name, list) in lists {
        out.insert(name.to_owned(), Value::from(list));
    }
    if let Some(seconds) = parts.max_age {
        let time = std::time::Duration::from_secs(u64::from(seconds));
        out.insert("max-age".to_owned(), Value::from(show_time(time)));
    }
    out.insert("credentials".to_owned(), Value::from(parts.credentials));
    out
}

fn redirect(rule: &Redirect) -> Table {
    let mut out = Table::new();
    out.insert("from".to_owned(), Value::from(rule.from.text()));
    if let Some(to) = &rule.to {
        out.insert("to".to_owned(), Value::from(to.to_string()));
    }
    out.insert("status".to_owned(), Value::from(i64::from(rule.status.code())));
    out
}

fn mount(rule: &Mount) -> Table {
    let mut out = Table::new();
    out.insert("path".to_owned(), Value::from(rule.path.as_str()));
    out.insert("root".to_owned(), Value::from(rule.root.to_string_lossy().into_owned()));
    out
}

fn rate(rule: &RateRule) -> Table {
    let mut out = Table::new();
    out.insert("match".to_owned(), globs(&rule.globs));
    out.insert("rate-limit".to_owned(), Value::from(show_size(rule.rate_limit)));
    out
}

fn errors(pages: &[ErrorPage]) -> Value {
    let row = |page: &ErrorPage| (page.status.code().to_string(), Value::from(page.file.as_str()));
    Value::Table(pages.iter().map(row).collect())
}

fn media(media: &MediaTable) -> Value {
    let rows = media.additions();
    Value::Table(rows.map(|(name, kind)| (name.to_owned(), Value::from(kind))).collect())
}

fn globs(globs: &[Glob]) -> Value {
    Value::Array(globs.iter().map(|glob| Value::from(glob.text())).collect())
}

fn list<T>(all: &[T], row: fn(&T) -> Table) -> Value {
    Value::Array(all.iter().map(|one| Value::Table(row(one))).collect())
}

fn put(out: &mut Table, name: &str, value: Value) {
    let empty = match &value {
        Value::Array(all) => all.is_empty(),
        Value::Table(all) => all.is_empty(),
        _ => false,
    };
    if !empty {
        out.insert(name.to_owned(), value);
    }
}
