//! The predictor: from the reads that were asked for to those that will be.
//!
//! - [`Predictor`]: one stream of reads, its [`Pattern`] and the offsets that come next
//! - [`Successors`]: after this file, that file
//!
//! Both are pure: they hold numbers, no descriptor and no memory of a file, and they start
//! nothing. Whoever reads ahead does so itself and says what became of it. Both are bounded, and
//! both live on a credit: a right prediction earns more than it costs, a wrong one is lost, and
//! without a pattern a read earns a sixty-fourth. So a pattern that shows is taken up at once, and
//! one that is mostly wrong is left. Where reads at random are right by chance as often as not, the
//! account in bytes of `cache/blocks/foresight.rs` bounds what they cost.

mod credit;
mod pattern;
mod predictor;
mod successors;

pub use pattern::Pattern;
pub use predictor::{Predictor, Tally};
pub use successors::Successors;
