//! What an open does with symbolic links.

/// What an open does with the symbolic links it meets, none of which leads out of the directory
/// that it begins at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are followed.
    #[default]
    Followed,
    /// They are followed, but for one that is the last name, which is an error.
    NotLast,
    /// Each is an error.
    Refused,
}
