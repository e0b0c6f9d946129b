//! Every bound of the server, with its unit and the reason for its value.
//!
//! Relations between bounds are `const` assertions at the end of the file. A bound that an
//! operator may change is the default of an option; the others are fixed.
