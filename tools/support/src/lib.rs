//! What the project's own tools share: building and running programs, tables for people, and what
//! is installed to be checked against.

pub mod child;
pub mod debian;
pub mod demo;
pub mod peers;
pub mod program;
pub mod table;
