//! The cells of the weights: where each kind of character has its own.
//!
//! What always holds: cells of two kinds never overlap, and all of them fit into [`CELLS`].

/// The place of a line end in `PAIRS`.
pub const NEWLINE: usize = 1;
/// Above which oddness letters count as odder, in steps.
pub const ODDNESS: [usize; 5] = [65, 80, 100, 140, 240];
/// How many steps that makes.
pub const ODD: usize = ODDNESS.len() + 1;
/// Where the cells begin: letters behind letters, letters behind something else, digits, spaces, marks, scripts but ASCII.
pub const LETTERS: usize = 0;
pub const STARTS: usize = LETTERS + 6 * ODD * 8;
pub const DIGITS: usize = STARTS + 4 * 2 * 2 * 8;
pub const SPACES: usize = DIGITS + 16;
pub const MARKS: usize = SPACES + 9;
pub const SCRIPTS: usize = MARKS + 4 * 8;
/// How many weights a family has.
pub const CELLS: usize = SCRIPTS + 27 * 5;
