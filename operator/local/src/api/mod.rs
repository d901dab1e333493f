//! A Kubernetes API server, as far as Varve's controllers, the runner and `kubectl` need one.
//!
//! [`Server::call`] takes a request and gives its answer; [`Server::client`] is a `kube::Client` straight onto it,
//! [`Server::serve`] puts it on a socket. All state is in memory, and on disk where a file was opened: every write that
//! was acknowledged is in it.

mod answer;
mod body;
mod chores;
mod discover;
mod duplicates;
mod expire;
mod failure;
mod kinds;
mod logs;
mod object;
mod protobuf;
mod query;
mod reviews;
mod route;
mod rules;
mod select;
mod serve;
mod server;
mod settings;
mod show;
mod state;
#[cfg(test)]
mod tests;
mod verbs;

pub use logs::{LogRequest, LogSource};
pub use server::Server;
pub use settings::{Clock, Collection, Ids, Settings};
pub use state::disk::OpenError;
