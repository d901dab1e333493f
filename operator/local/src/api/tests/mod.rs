//! The server as its clients see it, through `kube`.

mod objects;
