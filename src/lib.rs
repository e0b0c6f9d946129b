#![doc = include_str!("ARCHITECTURE.md")]

pub mod base;
pub mod batch;
pub mod cache;
pub mod cli;
pub mod config;
pub mod connection;
pub mod engines;
pub mod http;
pub mod limits;
pub mod predict;
pub mod resource;
pub mod ring;
pub mod server;
pub mod sys;
pub mod techniques;
pub mod telemetry;
