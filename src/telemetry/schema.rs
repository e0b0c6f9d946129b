//! What whoever reads the JSON has to know beside its names.

/// The version of the JSON: it changes when a name goes away or changes its meaning.
pub const VERSION: u32 = 2;

/// The path at which the figures are, unless the operator names another.
pub const PATH: &str = "/telemetry";

/// The media type of the JSON.
pub const MEDIA_TYPE: &str = "application/json";
