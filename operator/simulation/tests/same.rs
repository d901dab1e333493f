//! A seed's life is the same each time.

use std::process::Command;

/// Everything that happened in this seed's life.
fn told(seed: &str) -> String {
    let lived = Command::new(env!("CARGO_BIN_EXE_varve-simulation")).args(["--replay", seed]).output();
    String::from_utf8(lived.expect("it was built for this test").stdout).expect("it prints text")
}

#[test]
fn a_life_is_the_same_each_time() {
    // With two operators that contend, kills, and faults of all kinds.
    let (one, another) = (told("875"), told("875"));
    assert!(one.contains("dies") && one.contains("fault"), "too calm a life to show anything: {one}");
    assert_eq!(one, another);
}
