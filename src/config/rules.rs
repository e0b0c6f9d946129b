//! The tables of the file: rules, mounts and hosts.
//!
//! What a rule may say is checked by the constructors of `resource`; here each mistake gets its
//! place. What is odd between rules is for `conflicts.rs`, which is told where each one stands.

use toml::Spanned;
use toml::de::DeValue;

use super::problem::Source;
use super::table::{Placed, Reader, Table, directory};
use crate::resource::options::{
    Cors, CorsParts, CorsRule, ErrorPage, FieldEdit, FieldRule, Forbidden, Glob, Host, HostName,
    MediaTable, Mount, Place, RateRule, Redirect, Status, check_file,
};

/// The tables that stand at the top of the file.
pub(super) const TABLES: [&str; 8] =
    ["fields", "cors", "errors", "redirects", "mounts", "rates", "media", "hosts"];

/// The tables of the file, or of one host in it, with the place of each rule.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// What is said; for the site as a whole the names and keys are empty.
    pub(super) host: Host,
    pub(super) places: Places,
}

/// Where the rules stand, in their order.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) names: Vec<Source>,
    pub(super) root: Option<Source>,
    pub(super) fallback: Option<Source>,
    pub(super) fields: Vec<Source>,
    pub(super) cors: Vec<Source>,
    pub(super) errors: Vec<Source>,
    pub(super) redirects: Vec<Source>,
    pub(super) mounts: Vec<Source>,
    pub(super) rates: Vec<Source>,
}

/// Reads one table of the file, if it is one of [`TABLES`] but for the hosts.
pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &'static str,
    value: &Spanned<DeValue<'_>>,
    into: &mut Rules,
) {
    match name {
        "fields" => {
            let rules = each(reader, name, value, field_rule, &mut into.places.fields);
            into.host.fields = Some(rules);
        }
        "cors" => {
            let rules = each(reader, name, value, cors_rule, &mut into.places.cors);
            into.host.cors = Some(rules);
        }
        "redirects" => {
            let rules = each(reader, name, value, redirect, &mut into.places.redirects);
            into.host.redirects = Some(rules);
        }
        "mounts" => {
            let rules = each(reader, name, value, mount, &mut into.places.mounts);
            into.host.mounts = Some(rules);
        }
        "rates" => {
            let rules = each(reader, name, value, rate_rule, &mut into.places.rates);
            into.host.rates = Some(rules);
        }
        "errors" => into.host.errors = Some(errors(reader, value, &mut into.places.errors)),
        "media" => into.host.media = Some(media(reader, value)),
        _ => unreachable!("a table of the list, and not the hosts"),
    }
}

/// Reads `[[hosts]]`.
pub(super) fn hosts(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Rules> {
    reader.tables("hosts", value).into_iter().map(|table| host(reader, table)).collect()
}

fn host(reader: &mut Reader<'_>, mut table: Table<'_>) -> Rules {
    let mut rules = Rules::default();
    match table.members(reader, "names", HostName::new) {
        Some(names) if !names.is_empty() => {
            rules.host.names = Placed::values(&names);
            rules.places.names = names.into_iter().map(|name| name.source).collect();
        }
        _ => reader
            .problem(table.span(), "hosts needs the key 'names'; write names = [\"a.example\"]"),
    }
    let base = reader.base();
    if let Some(root) = table.read(reader, "root", |written| directory(written, base)) {
        rules.host.root = Some(root.value);
        rules.places.root = Some(root.source);
    }
    let index = table
        .members(reader, "index", |name| super::shapes::file_name(name).map(|()| name.to_owned()));
    rules.host.index = index.map(|names| Placed::values(&names));
    let dotfiles = table.read(reader, "dotfiles", super::Written::boolean);
    rules.host.dotfiles = dotfiles.map(|placed| placed.value);
    if let Some(fallback) = table.read(reader, "fallback", super::shapes::fallback) {
        rules.host.fallback = Some(fallback.value);
        rules.places.fallback = Some(fallback.source);
    }
    let forbidden = table.read(reader, "forbidden", |written| {
        written.choice("status", &Forbidden::ALL, Forbidden::name)
    });
    rules.host.forbidden = forbidden.map(|placed| placed.value);
    for name in TABLES.into_iter().filter(|name| *name != "hosts") {
        if let Some(value) = table.take(name) {
            read(reader, name, value, &mut rules);
        }
    }
    table.end(reader);
    rules
}

/// Reads the tables of an array, and notes where each one stands.
fn each<T>(
    reader: &mut Reader<'_>,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    read: fn(&mut Reader<'_>, &mut Table<'_>) -> Option<T>,
    places: &mut Vec<Source>,
) -> Vec<T> {
    let mut all = Vec::new();
    for mut table in reader.tables(name, value) {
        let source = reader.source(table.span());
        if let Some(rule) = read(reader, &mut table) {
            all.push(rule);
            places.push(source);
        }
        table.end(reader);
    }
    all
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).map_err(|error| format!("'{text}': {error}"))
}

fn globs(reader: &mut Reader<'_>, table: &mut Table<'_>, of: &str) -> Option<Vec<Glob>> {
    match table.members(reader, "match", glob) {
        // What is missing was said of each member.
        Some(globs) => Some(Placed::values(&globs)),
        None => {
            let message = format!("{of} needs the key 'match'; write match = \"/**\"");
            reader.problem(table.span(), message);
            None
        }
    }
}

fn field_rule(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<FieldRule> {
    let globs = globs(reader, table, "fields");
    let sound = reader.problems.len();
    let mut edits = Vec::new();
    if let Some(value) = table.take("set")
        && let Some(mut set) = reader.table("set", value)
    {
        for (place, name, value) in set.rest() {
            let written = super::Written::from(value.get_ref());
            match written.text("a value in quotes") {
                Ok(text) => match FieldEdit::set(name, text) {
                    Ok(edit) => edits.push(edit),
                    Err(error) => reader.problem(place, format!("'{name}': {error}")),
                },
                Err(message) => reader.problem(value.span(), format!("'{name}': {message}")),
            }
        }
    }
    let remove = |name: &str| FieldEdit::remove(name).map_err(|error| format!("'{name}': {error}"));
    let removed = table.members(reader, "remove", remove);
    edits.extend(removed.iter().flat_map(|removed| Placed::values(removed)));
    let always = table.read(reader, "always", super::Written::boolean);
    if edits.is_empty() && reader.problems.len() == sound {
        let message = "fields changes nothing; write set = { Name = \"value\" } or remove = [..]";
        reader.problem(table.span(), message);
    }
    Some(FieldRule { globs: globs?, edits, always: always.is_some_and(|placed| placed.value) })
}

fn cors_rule(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<CorsRule> {
    let globs = globs(reader, table, "cors");
    let plain = |text: &str| Ok(text.to_owned());
    let mut list = |reader: &mut Reader<'_>, key, default: &[&str]| {
        let members = table.members(reader, key, plain);
        members.map_or_else(
            || default.iter().map(ToString::to_string).collect(),
            |members| Placed::values(&members),
        )
    };
    let origins = list(reader, "origins", &[]);
    let methods = list(reader, "methods", &["GET", "HEAD"]);
    let headers = list(reader, "headers", &[]);
    let expose = list(reader, "expose", &[]);
    let day = std::time::Duration::from_secs(86_400);
    let max_age = table.read(reader, "max-age", |written| {
        // Browsers keep a preflight for a day at most.
        written.time(std::time::Duration::ZERO..=day).map(|time| time.as_secs() as u32)
    });
    let credentials = table.read(reader, "credentials", super::Written::boolean);
    let parts = CorsParts {
        origins,
        methods,
        headers,
        expose,
        max_age: max_age.map(|placed| placed.value),
        credentials: credentials.is_some_and(|placed| placed.value),
    };
    match Cors::new(parts) {
        Ok(cors) => Some(CorsRule { globs: globs?, cors }),
        Err(error) => {
            reader.problem(table.span(), format!("cors: {error}"));
            None
        }
    }
}

fn rate_rule(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<RateRule> {
    let globs = globs(reader, table, "rates");
    let rate_limit = table.need(reader, "rate-limit", super::catalogue::rate_limit);
    Some(RateRule { globs: globs?, rate_limit: rate_limit?.value })
}

fn redirect(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<Redirect> {
    let text = "text in quotes";
    let from = table.need(reader, "from", |written| written.text(text).and_then(glob));
    let codes = || Redirect::STATUSES.map(|status| status.code().to_string()).join(", ");
    let status = table.read(reader, "status", |written| {
        let code = written.count(100..=599)?;
        let known = Redirect::STATUSES.iter().find(|status| u64::from(status.code()) == code);
        known.copied().ok_or_else(|| format!("a redirect has one of {}", codes()))
    });
    let status = status.map_or(Status::MovedPermanently, |placed| placed.value);
    if status == Status::Gone {
        if let Some(to) = table.take("to") {
            reader.problem(to.span(), "what is gone leads nowhere; leave 'to' out");
        }
        return Some(Redirect { from: from?.value, to: None, status });
    }
    let to = table.need(reader, "to", |written| {
        let to = written.text(text)?;
        Place::new(to).map_err(|error| format!("'{to}': {error}"))
    })?;
    let from = from?.value;
    if to.value.carries() && from.directory().is_none() {
        let message = "'/**' of 'to' needs a 'from' that is a directory, as /old/**";
        reader.problem(table.span(), message);
    }
    Some(Redirect { from, to: Some(to.value), status })
}

fn mount(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Option<Mount> {
    let path = table.need(reader, "path", |written| {
        let path = written.text("a path in quotes")?;
        Mount::check(path).map(|()| path.to_owned())
    });
    let base = reader.base();
    let root = table.need(reader, "root", |written| directory(written, base));
    Some(Mount { path: path?.value, root: root?.value })
}

fn errors(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    places: &mut Vec<Source>,
) -> Vec<ErrorPage> {
    let Some(mut table) = reader.table("errors", value) else { return Vec::new() };
    let mut pages = Vec::new();
    for (place, code, file) in table.rest() {
        let known = |status: &&Status| status.code().to_string() == code;
        let Some(status) = ErrorPage::STATUSES.iter().find(known) else {
            let codes = ErrorPage::STATUSES.map(|status| status.code().to_string()).join(", ");
            reader.problem(place, format!("'{code}' has no page; these may have one: {codes}"));
            continue;
        };
        let written = super::Written::from(file.get_ref());
        let checked = written.text("the name of a file").and_then(|file| {
            check_file(file)?;
            Ok(file.to_owned())
        });
        match checked {
            Ok(page) => {
                places.push(reader.source(file.span()));
                pages.push(ErrorPage { status: *status, file: page });
            }
            Err(message) => reader.problem(file.span(), format!("{code}: {message}")),
        }
    }
    pages
}

fn media(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> MediaTable {
    let mut media = MediaTable::default();
    let Some(mut table) = reader.table("media", value) else { return media };
    for (_, extension, essence) in table.rest() {
        let written = super::Written::from(essence.get_ref());
        let added = written.text("a type in quotes").and_then(|essence| {
            media.add(extension, essence).map_err(|error| format!("'{essence}': {error}"))
        });
        if let Err(message) = added {
            reader.problem(essence.span(), format!("{extension}: {message}"));
        }
    }
    media
}
