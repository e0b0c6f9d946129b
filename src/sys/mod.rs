//! What the process asks of the kernel outside the loop: sockets to listen on, signals, the
//! root directory, mounts, memory that there is and that becomes short, the limit of descriptors,
//! watchers, the successor and the service manager, a file that grows, whether io_uring is there,
//! and one question to a server that runs, for the commands that look at it.
//!
//! Everything here runs at start, at a reload or at the end, never for a request, but for the
//! allocator of builds with debug assertions. Failures are typed by cause, and their text is one
//! line that names the remedy.

mod bell;
pub mod client;
pub mod descriptors;
pub mod exchange;
pub mod follow;
pub mod hand_over;
pub mod inherited;
pub mod lock;
pub mod mapping;
pub mod memory;
pub mod mounts;
pub mod notify;
mod owned_path;
pub mod pressure;
pub mod probe;
pub mod processor;
pub mod quarantine;
pub mod read_ahead;
pub mod residency;
pub mod root;
pub mod signal;
pub mod socket;
pub mod watcher;

pub use bell::Bell;
pub use exchange::Exchange;
pub use owned_path::{Trace, remove_socket};
pub use quarantine::Quarantine;
pub use root::Root;
pub use signal::{Signal, Signals};
pub use socket::{Bound, Listen};
