//! The commands of the main binary that pods run, for this crate's tests: the main binary runs them in just this way.
//! And `dev FOLDER SCRIPT`: an API server and a runner in a process of their own, with a pod that runs the script.

use std::path::Path;
use std::process::ExitCode;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use varve_local::api::{self, Server};
use varve_local::runner::{RunnerChoice, Settings, inside, parent, run};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let text = |at: usize| arguments.get(at).and_then(|argument| argument.to_str()).unwrap_or_default();
    match text(1) {
        "shim" => {
            parent::end_with(parent::ASK);
            varve_worker::shim::main(std::env::args().skip(2))
        }
        "inside" => inside::main(Path::new(text(2)), arguments.get(4..).unwrap_or_default()),
        "keeper" => {
            parent::end_with(parent::KILL);
            let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
            tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
            match tokio::runtime::Runtime::new() {
                Ok(runtime) => runtime.block_on(varve_worker::keeper::main()),
                Err(_) => ExitCode::FAILURE,
            }
        }
        "dev" => match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(dev(text(2), text(3))),
            Err(_) => ExitCode::FAILURE,
        },
        _ => ExitCode::FAILURE,
    }
}

async fn dev(folder: &str, script: &str) -> ExitCode {
    let server = Server::in_memory(api::Settings::default());
    let client = server.client("default");
    let container = json!({ "name": "user", "image": "none", "command": ["/bin/sh", "-c", script] });
    let pod = json!({ "metadata": { "name": "pod" }, "spec": { "restartPolicy": "Never", "containers": [container] } });
    let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
    let pods = Api::<Pod>::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod).await.expect("the server takes a pod");
    let settings = Settings::of_this_machine(folder.into()).expect("it is a machine");
    let settings = Settings { choice: RunnerChoice::Process, ..settings };
    match run(client, settings, CancellationToken::new()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
