//! The table, by what its cases are about. A name begins with the clause that the case proves.

mod answers;
mod bodies;
mod conditions;
mod connections;
mod ends;
mod fields;
mod listings;
mod ranges;
mod request_line;
mod rules;
mod tags;
mod targets;
mod variants;

use crate::case::Case;

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    let tables = [
        request_line::cases(),
        fields::cases(),
        bodies::cases(),
        connections::cases(),
        targets::cases(),
        answers::cases(),
        conditions::cases(),
        ranges::cases(),
        variants::cases(),
        ends::cases(),
        listings::cases(),
        tags::cases(),
        rules::cases(),
    ];
    tables.into_iter().flatten().collect()
}

#[test]
fn every_case_names_its_clause_once() {
    let cases = cases();
    assert!(cases.len() >= 250, "{} cases", cases.len());
    let mut names = std::collections::BTreeSet::new();
    for case in &cases {
        // What scripts of other origins may read is in no RFC.
        let named = case.name.starts_with("RFC ") || case.name.starts_with("Fetch section ");
        assert!(named, "{}: no clause", case.name);
        assert!(names.insert((&case.name, case.setup)), "{}: twice", case.name);
        let waits = case.after == crate::case::After::Pending;
        assert!(waits || !case.answers.is_empty(), "{}: nothing is wanted", case.name);
    }
}
