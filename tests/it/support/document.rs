//! The document of the control API, and whether an answer is as it says: every one that a test gets is held against it,
//! strictly, though a controller should take members that it does not know.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("JSON"));

/// What a schema says of a value: the members that it knows, or what is wrong.
type Verdict = Result<BTreeSet<String>, String>;

/// The template of a path, such as `/v1/pos/{pos}`, and what can be done there.
pub fn place(target: &str) -> Option<(&'static str, &'static Value)> {
    let path = target.split('?').next().unwrap_or_default();
    let parts = || path.split('/');
    let fits = |template: &str| {
        let names = || template.split('/');
        names().count() == parts().count()
            && names()
                .zip(parts())
                .all(|(name, part)| name.starts_with('{') || name == part)
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let found = paths.iter().find(|(template, _)| fits(template));
    found.map(|(template, here)| (template.as_str(), here))
}

/// Fails unless the document says that this may be answered.
#[track_caller]
pub fn check(method: &str, target: &str, status: u16, kind: Option<&str>, body: &[u8]) {
    let wrong = |what: &str| panic!("{method} {target}: {status} {}: {what}", String::from_utf8_lossy(body));
    let operation = place(target).and_then(|(_, here)| here.get(method.to_ascii_lowercase()));
    let Some(operation) = operation else {
        // It says so of all places at once.
        return assert!([400, 401, 404, 405].contains(&status), "{method} {target}: {status}");
    };
    let Some(answer) = operation["responses"].get(status.to_string()) else {
        return wrong("this status is not documented");
    };
    let answer = resolved(answer);
    let Some(kind) = kind else {
        return assert!(
            answer.get("content").is_none() && body.is_empty(),
            "{method} {target}: {status}"
        );
    };
    let kind = kind.split(';').next().unwrap_or_default();
    let schema = match answer["content"].get(kind) {
        Some(content) => &content["schema"],
        None => return wrong(&format!("{kind} is not documented")),
    };
    if kind.ends_with("json") {
        let value = serde_json::from_slice(body).expect("JSON");
        whole(schema, &value).unwrap_or_else(|why| wrong(&why));
    }
}

/// The same for an event of the stream.
#[track_caller]
pub fn check_event(event: &Value) {
    let schema = &DOCUMENT["components"]["schemas"]["Event"];
    whole(schema, event).unwrap_or_else(|why| panic!("{event}: {why}"));
}

fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(place) => DOCUMENT
            .pointer(&place[1..])
            .unwrap_or_else(|| panic!("{place} is not there")),
        None => value,
    }
}

/// The value is as the schema says, and no member of it is unknown.
fn whole(schema: &'static Value, value: &Value) -> Result<(), String> {
    let known = judge(schema, value)?;
    let members = value.as_object().into_iter().flatten();
    match members.map(|(name, _)| name).find(|name| !known.contains(*name)) {
        Some(name) => Err(format!("{name} is not documented")),
        None => Ok(()),
    }
}

/// A keyword that it does not know fails the test, so none goes unheard.
fn judge(schema: &'static Value, value: &Value) -> Verdict {
    let mut known = BTreeSet::new();
    for (keyword, says) in schema.as_object().expect("a schema") {
        let holds = match keyword.as_str() {
            "$ref" => {
                known.extend(judge(resolved(schema), value)?);
                true
            }
            "type" => has_type(says, value),
            "enum" => says.as_array().expect("values").contains(value),
            "const" => says == value,
            "minimum" => value
                .as_i64()
                .is_none_or(|number| says.as_i64().is_some_and(|least| number >= least)),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= says.as_u64().expect("a number")),
            "required" => {
                let names = says.as_array().expect("names").iter().filter_map(Value::as_str);
                names.into_iter().all(|name| value.get(name).is_some())
            }
            "properties" => {
                for (name, schema) in says.as_object().expect("schemas") {
                    if let Some(member) = value.get(name) {
                        whole(schema, member).map_err(|why| format!("{name}: {why}"))?;
                        known.insert(name.clone());
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if says.is_object() {
                        whole(says, member).map_err(|why| format!("{name}: {why}"))?;
                    }
                    known.insert(name.clone());
                }
                true
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    whole(says, item).map_err(|why| format!("{place}: {why}"))?;
                }
                true
            }
            "oneOf" | "anyOf" => {
                let all = says
                    .as_array()
                    .expect("schemas")
                    .iter()
                    .map(|schema| judge(schema, value));
                let (fit, others): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
                if fit.len() != 1 {
                    return Err(format!("{} of the {keyword} fit: {others:?}", fit.len()));
                }
                known.extend(fit.into_iter().flatten().flatten());
                true
            }
            // What people read, and texts' forms, which schemathesis looks at.
            "title" | "description" | "examples" | "pattern" | "format" | "default" => true,
            _ => panic!("{keyword}: this keyword is not known here"),
        };
        if !holds {
            return Err(format!("{value} is not as {keyword} {says} says"));
        }
    }
    Ok(known)
}

fn has_type(types: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{name} is no type"),
    };
    match types {
        Value::String(name) => is(name),
        several => several
            .as_array()
            .expect("types")
            .iter()
            .filter_map(Value::as_str)
            .any(is),
    }
}
