//! The figures as they are asked for: forms, who may read them, where, and what a scraper may do.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "telemetry/dashboards.rs"]
mod dashboards;
#[path = "telemetry/forms.rs"]
mod forms;
#[path = "telemetry/listeners.rs"]
mod listeners;
#[path = "telemetry/page.rs"]
mod page;
