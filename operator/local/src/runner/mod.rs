//! stub
use std::path::PathBuf;
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)] pub enum Choice { #[default] Auto, Process }
#[derive(Debug, Clone)] pub struct Chosen;
impl Chosen { pub fn uses_images(&self) -> bool { false } }
impl std::fmt::Display for Chosen { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct Error;
pub struct Settings;
impl Settings { pub fn new(_: Chosen, _: PathBuf) -> Self { Self } }
pub async fn choose(_: Choice) -> Result<Chosen, Error> { Ok(Chosen) }
pub async fn run(_: kube::Client, _: Settings, _: tokio_util::sync::CancellationToken) -> Result<(), Error> { Ok(()) }
