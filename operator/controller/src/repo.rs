//! The Repo controller.
