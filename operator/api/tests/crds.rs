//! What holds for every CRD. That the files in `crds/` are current is for `cargo xtask generate --check`.

use serde_json::Value;

#[test]
fn a_crd_is_smaller_than_200_kib() {
    for (name, text) in varve_api::crd::files() {
        println!("{name}: {} bytes", text.len());
        assert!(text.len() < 200 << 10, "{name} has {} bytes", text.len());
    }
}

/// Calls `see` with each schema below this one and the path to it.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&Value, &str)) {
    see(schema, path);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), see);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}[]"), see);
        }
    }
}

/// Calls `see` with each schema of each kind.
fn each(see: &mut impl FnMut(&Value, &str)) {
    for crd in varve_api::crds() {
        let kind = crd.spec.names.kind.clone();
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        walk(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &kind, see);
    }
}

#[test]
fn every_field_has_a_description_that_reads_like_a_sentence() {
    each(&mut |schema, path| {
        let standard = ["apiVersion", "kind", "metadata"].iter().any(|f| path.split('.').nth(1) == Some(f));
        if standard || path.ends_with("[]") {
            return;
        }
        let text = schema["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
        assert!(text.ends_with(['.', ')', ':', '"', '`']), "{path}: {text}");
        assert!(!text.contains('\n'), "{path}: {text}");
    });
}

#[test]
fn every_list_map_and_string_is_bounded() {
    each(&mut |schema, path| {
        if [".metadata", ".apiVersion", ".kind"].iter().any(|field| path.ends_with(field)) {
            return;
        }
        let bounded = |key: &str| schema[key].is_u64();
        match schema["type"].as_str() {
            Some("string") => assert!(
                bounded("maxLength") || schema["enum"].is_array() || schema["format"] == "date-time",
                "{path} has no maxLength"
            ),
            Some("array") => assert!(bounded("maxItems"), "{path} has no maxItems"),
            Some("object") if schema["additionalProperties"].is_object() => {
                assert!(bounded("maxProperties"), "{path} has no maxProperties");
            }
            // Looked at by the engine, path by path.
            Some("object") if schema["x-kubernetes-preserve-unknown-fields"] == true => {
                assert!(path.contains(".pod.overlay."), "{path} takes whatever comes");
            }
            Some("object") => assert!(schema["properties"].is_object(), "{path} is an object without fields"),
            Some("integer" | "boolean") => {}
            other => assert!(schema["x-kubernetes-int-or-string"] == true, "{path} has type {other:?}"),
        }
        assert!(schema["nullable"].is_null(), "{path} is nullable");
    });
}

/// What YAML 1.1, and with it some tools for Kubernetes, reads as a boolean.
const BOOLEANS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

#[test]
fn no_field_or_enum_value_is_a_boolean_in_yaml_1_1() {
    let is_boolean = |word: &str| BOOLEANS.contains(&word.to_lowercase().as_str());
    each(&mut |schema, path| {
        for name in schema["properties"].as_object().into_iter().flat_map(|p| p.keys()) {
            assert!(!is_boolean(name), "{path}.{name}");
        }
        for value in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let is_condition = path.ends_with(".conditions[].status"); // Kubernetes' own, and in quotes everywhere
            assert!(is_condition || !is_boolean(value), "{path} = {value}");
        }
    });
}

#[test]
fn every_rule_has_a_message() {
    let mut rules = 0;
    each(&mut |schema, path| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            rules += 1;
            assert!(rule["message"].as_str().is_some_and(|m| m.len() > 20), "{path}: {rule}");
        }
    });
    assert!(rules > 40, "only {rules} rules were seen");
}
