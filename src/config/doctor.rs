//! What the doctor is told of a configuration.

use crate::doctor::Options;
use crate::server::options::Options as ServerOptions;

/// Of what is served, what asks something of the machine.
pub fn doctor_options(server: &ServerOptions) -> Options {
    Options {
        root: server.site.root.clone(),
        connections: server.connections,
        workers: server.workers,
        pipes: server.pipes,
        open_files: server.open_files,
        watches: server.watches,
        memory_budgets: server.memory_budgets().iter().map(|(_, bytes)| bytes).sum(),
        body_buffers: server.body_buffers as u64,
        direct_cache: server.direct_cache as u64,
        symlinks: server.symlinks,
        dotfiles: server.site.dotfiles,
        precompressed: server.precompressed.name(),
        thresholds: server.thresholds,
    }
}
