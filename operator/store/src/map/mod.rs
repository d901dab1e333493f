//! Maps: prolly trees whose shape is a function of their keys, read and edited without ever being held whole.

pub(crate) mod build;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod read;
pub(crate) mod values;
