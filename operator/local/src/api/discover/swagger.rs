//! `OpenAPI` v2: what `kubectl` up to 1.26 reads before it applies and explains, in protobuf alone.
//!
//! The messages are those of `gnostic-models`' `OpenAPIv2.proto`, as far as Kubernetes' clients read them.

use prost::Message;
use serde_json::{Map, Value, json};

use super::openapi::{WRITE_OPTIONS, gvk, object_path, schema, schema_name};
use crate::api::kinds::Kinds;

/// The media type of the document in protobuf.
pub(super) const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same as clients up to 1.26 ask for it, which is no media type by RFC 6838, and which they don't take as an answer.
pub(super) const ASKED_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document, in JSON.
pub(super) fn document(kinds: &Kinds, version: &str) -> Value {
    let mut definitions = Map::new();
    let mut paths = Map::new();
    for kind in kinds.iter() {
        definitions.insert(schema_name(kind), second(&schema(kind)));
        // Clients look here for whether the server can try a write without doing it, and checks fields itself.
        let parameters: Vec<Value> = WRITE_OPTIONS
            .iter()
            .map(|option| json!({ "name": option, "in": "query", "type": "string", "uniqueItems": true }))
            .collect();
        let patch = json!({
            "parameters": parameters,
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": gvk(kind),
        });
        paths.insert(object_path(kind), json!({ "patch": patch }));
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Varve", "version": version },
        "paths": paths,
        "definitions": definitions,
    })
}

/// What v2 can say of a v3 schema: the API server leaves the rest out as well.
fn second(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let is_nullable = fields.get("nullable") == Some(&Value::Bool(true));
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "properties" => {
                let below = value.as_object().into_iter().flatten();
                below.map(|(name, below)| (name.clone(), second(below))).collect::<Map<_, _>>().into()
            }
            "items" | "additionalProperties" => second(value),
            "description" | "format" | "required" | "type" => value.clone(),
            extension if extension.starts_with("x-kubernetes-") => value.clone(),
            _ => continue,
        };
        // A client of v2 refuses a null unless it knows nothing of the field.
        let tells_shape = matches!(name.as_str(), "type" | "properties" | "items" | "additionalProperties");
        if !(is_nullable && tells_shape) {
            kept.insert(name.clone(), value);
        }
    }
    kept.into()
}

/// The document, in protobuf.
pub(super) fn encoded(document: &Value) -> Vec<u8> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let paths = entries(&document["paths"]).map(|(name, item)| NamedPathItem {
        name: name.clone(),
        value: Some(PathItem { patch: Some(Operation::of(&item["patch"])) }),
    });
    let document = Document {
        swagger: text(&document["swagger"]),
        info: Some(Info { title: text(&document["info"]["title"]), version: text(&document["info"]["version"]) }),
        paths: Some(Paths { path: paths.collect() }),
        definitions: Some(NamedSchemas::of(&document["definitions"])),
    };
    document.encode_to_vec()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn extensions(of: &Value) -> Vec<NamedAny> {
    let extensions = entries(of).filter(|(name, _)| name.starts_with("x-"));
    // JSON is YAML.
    extensions
        .map(|(name, value)| NamedAny { name: name.clone(), value: Some(Any { yaml: value.to_string() }) })
        .collect()
}

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<NamedSchemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

/// A parameter of a query, in the messages that it lies in.
#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    non_body_parameter: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query_parameter_sub_schema: Option<QueryParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(string, tag = "2")]
    r#in: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    r#type: String,
    #[prost(bool, tag = "20")]
    unique_items: bool,
}

/// `Definitions` and `Properties` alike.
#[derive(Clone, PartialEq, Message)]
struct NamedSchemas {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalPropertiesItem>>,
    #[prost(message, optional, tag = "22")]
    r#type: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    properties: Option<NamedSchemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalPropertiesItem {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
    #[prost(bool, tag = "2")]
    boolean: bool,
}

#[derive(Clone, PartialEq, Message)]
struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

impl Operation {
    fn of(operation: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
            let query = QueryParameter {
                r#in: text(&parameter["in"]),
                name: text(&parameter["name"]),
                r#type: text(&parameter["type"]),
                unique_items: parameter["uniqueItems"] == true,
            };
            let parameter = NonBodyParameter { query_parameter_sub_schema: Some(query) };
            ParametersItem { parameter: Some(Parameter { non_body_parameter: Some(parameter) }) }
        });
        Self { parameters: parameters.collect(), vendor_extension: extensions(operation) }
    }
}

impl NamedSchemas {
    fn of(schemas: &Value) -> Self {
        let named =
            |(name, value): (&String, &Value)| NamedSchema { name: name.clone(), value: Some(Schema::of(value)) };
        Self { additional_properties: entries(schemas).map(named).collect() }
    }
}

impl Schema {
    fn of(schema: &Value) -> Self {
        let text = |name: &str| schema[name].as_str().unwrap_or_default().to_owned();
        let more = match &schema["additionalProperties"] {
            Value::Null => None,
            Value::Bool(boolean) => Some(AdditionalPropertiesItem { schema: None, boolean: *boolean }),
            below => Some(AdditionalPropertiesItem { schema: Some(Box::new(Self::of(below))), boolean: false }),
        };
        let kind = schema["type"].as_str().map(|kind| TypeItem { value: vec![kind.to_owned()] });
        Self {
            format: text("format"),
            description: text("description"),
            required: texts(&schema["required"]),
            additional_properties: more.map(Box::new),
            r#type: kind,
            items: schema["items"].is_object().then(|| ItemsItem { schema: vec![Self::of(&schema["items"])] }),
            properties: schema["properties"].is_object().then(|| NamedSchemas::of(&schema["properties"])),
            vendor_extension: extensions(schema),
        }
    }
}
