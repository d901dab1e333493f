//! Label selectors: `a=b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`, `a>1`.

use serde_json::Value;

use crate::api::failure::Failure;
use crate::api::rules::names;

/// All of these must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Labels(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Labels {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels[&requirement.key].as_str()))
    }

    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut words = Words(text);
        let mut requirements = Vec::new();
        while !words.is_done() {
            requirements.push(requirement(&mut words)?);
            match words.next() {
                "," if !words.is_done() => {}
                "" => break,
                found => return Err(unexpected(found, "',' or 'end of string'")),
            }
        }
        Ok(Self(requirements))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Test::Above(limit) => number().is_some_and(|number| number > *limit),
            Test::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

fn unexpected(found: &str, expected: &str) -> Failure {
    Failure::bad_request(format!("found '{found}', expected: {expected}"))
}

fn unparsable(why: impl std::fmt::Display) -> Failure {
    Failure::bad_request(format!("unable to parse requirement: {why}"))
}

/// Refuses what no label can have; `place` is where, as the API server counts.
fn check(place: &str, text: &str, wrong: &[String]) -> Result<(), Failure> {
    match wrong.first() {
        Some(why) => Err(unparsable(format!("{place}: Invalid value: {}: {why}", names::quoted(text)))),
        None => Ok(()),
    }
}

fn requirement(words: &mut Words<'_>) -> Result<Requirement, Failure> {
    let first = words.next();
    if first == "!" {
        return Ok(Requirement { key: key(words.next())?, test: Test::Missing });
    }
    let key = key(first)?;
    let test = match words.peek() {
        "" | "," => Test::Exists,
        operator => {
            words.next();
            match operator {
                "=" | "==" => Test::In(vec![value(words)?]),
                "!=" => Test::NotIn(vec![value(words)?]),
                "in" => Test::In(values(words)?),
                "notin" => Test::NotIn(values(words)?),
                ">" => Test::Above(number(words.next())?),
                "<" => Test::Below(number(words.next())?),
                found => return Err(unexpected(found, "in, notin, =, ==, !=, gt, lt")),
            }
        }
    };
    if let Test::In(values) | Test::NotIn(values) = &test {
        for (index, value) in values.iter().enumerate() {
            check(&format!("values[{index}][{key}]"), value, &names::label_value(value))?;
        }
    }
    Ok(Requirement { key, test })
}

fn key(word: &str) -> Result<String, Failure> {
    if word.is_empty() || is_symbol(word) {
        return Err(unexpected(word, "!, identifier, or 'end of string'"));
    }
    check("<nil>", word, &names::qualified(word))?;
    Ok(word.into())
}

/// One value; none is the empty one.
fn value(words: &mut Words<'_>) -> Result<String, Failure> {
    match words.peek() {
        "" | "," => Ok(String::new()),
        word if is_symbol(word) => Err(unexpected(word, "identifier")),
        word => {
            words.next();
            Ok(word.into())
        }
    }
}

fn values(words: &mut Words<'_>) -> Result<Vec<String>, Failure> {
    let open = words.next();
    if open != "(" {
        return Err(unparsable(format!("found '{open}' expected: '('")));
    }
    let mut values = Vec::new();
    loop {
        match words.next() {
            ")" => return Ok(values),
            "," => {}
            word if word.is_empty() || is_symbol(word) => return Err(unexpected(word, "',', ')' or identifier")),
            word => values.push(word.into()),
        }
    }
}

fn number(word: &str) -> Result<i64, Failure> {
    word.parse().map_err(|_| {
        unparsable(format!(
            "values[0]: Invalid value: {word:?}: for 'Gt', 'Lt' operators, the value must be an integer"
        ))
    })
}

fn is_symbol(word: &str) -> bool {
    word.starts_with(['=', '!', '(', ')', ',', '<', '>'])
}

/// Words and symbols, one after the other; an empty one at the end.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn is_done(&self) -> bool {
        self.0.trim_start().is_empty()
    }

    fn peek(&self) -> &'a str {
        let text = self.0.trim_start();
        for symbol in ["==", "!=", "=", "!", "(", ")", ",", "<", ">"] {
            if text.starts_with(symbol) {
                return &text[..symbol.len()];
            }
        }
        let end = text.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(text.len());
        &text[..end]
    }

    fn next(&mut self) -> &'a str {
        let word = self.peek();
        self.0 = &self.0.trim_start()[word.len()..];
        word
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: &Value) -> bool {
        Labels::parse(selector).expect("a selector").matches(labels)
    }

    #[test]
    fn every_operator_says_what_it_means() {
        let labels = json!({ "app": "sum", "tier": "2" });
        for selector in [
            "",
            "app",
            "!gone",
            "app=sum",
            "app==sum",
            "app!=other",
            "gone!=x",
            "app in (sum, max)",
            "app notin (max)",
            "gone notin (a)",
            "tier>1",
            "tier<3",
            "app=sum,tier=2",
        ] {
            assert!(selects(selector, &labels), "{selector}");
        }
        for selector in
            ["gone", "!app", "app=max", "app!=sum", "app in (max)", "app notin (sum)", "tier>2", "app=sum,gone"]
        {
            assert!(!selects(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn a_value_may_be_empty() {
        assert!(selects("app=", &json!({ "app": "" })));
        assert!(selects("app=,tier", &json!({ "app": "", "tier": "1" })));
    }

    #[test]
    fn two_values_for_one_key_are_refused_in_the_servers_words() {
        let failure = Labels::parse("a==b=c").expect_err("a refusal");
        assert_eq!(failure, Failure::bad_request("found '=', expected: ',' or 'end of string'"));
    }
}
