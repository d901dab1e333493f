//! The Commit controller.
