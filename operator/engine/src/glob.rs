//! Patterns over paths: what makes a datum, and what a Commit deletes.
//!
//! A pattern begins with `/` and is matched name by name. `*` and `?` stay within one name, `[a-z]`, `[!a-z]` and
//! `{a,b}` work, `\` takes the next character as it is, `(…)` marks what joins take as a key. `/` is the whole repo
//! as one match. A pattern of n names matches files and directories at depth n; with a `/` at its end directories
//! alone. `**`, alone between slashes, stands for any number of directories; such a pattern matches files at any
//! depth, and at its end `**` stands for every file below.
//!
//! What a pattern can't match is known beforehand ([`Glob::prefix`], [`Glob::depth`], [`Glob::may_match_below`]), so
//! that listings and diffs stop there.

use std::fmt;

use regex::{Regex, RegexBuilder};
use varve_format::RepoPath;

use crate::object::Object;

/// The most memory that one compiled pattern may take: patterns come from users.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A pattern over the paths of a repo.
#[derive(Clone)]
pub struct Glob {
    text: String,
    segments: Vec<Segment>,
    is_directories_only: bool,
    /// Of a pattern with `**`, which is not matched name by name.
    any_depth: Option<Regex>,
}

/// One name of a pattern.
#[derive(Clone)]
enum Segment {
    /// A name without anything special.
    Name(String),
    /// `*`: any name. Most patterns need no more, and so no expression, which takes longer to compile than to match.
    AnyName,
    /// A name with wildcards.
    Pattern(Regex),
    /// `**`: any number of directories.
    AnyDepth,
}

/// How deep matches lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Exactly so many names below the root, files and directories alike; 0 is the root itself.
    Exactly(usize),
    /// At any depth, files alone.
    AnyFile,
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(GlobError::NotAbsolute { pattern: text.to_owned() });
        };
        let (rest, is_directories_only) = match rest.strip_suffix('/') {
            Some(rest) if !rest.ends_with('\\') => (rest, true),
            _ => (rest, false),
        };
        let mut segments = Vec::new();
        let mut expressions = Vec::new();
        for name in rest.split('/').filter(|_| !rest.is_empty()) {
            let (segment, expression) = parse_name(name).map_err(|cause| cause.of(text))?;
            segments.push(segment);
            expressions.push(expression);
        }
        let has_any_depth = segments.iter().any(|segment| matches!(segment, Segment::AnyDepth));
        if is_directories_only && (has_any_depth || segments.is_empty()) {
            return Err(Cause::DirectoriesAtAnyDepth.of(text));
        }
        let any_depth = has_any_depth.then(|| compile(&join(&segments, &expressions))).transpose();
        let any_depth = any_depth.map_err(|cause| cause.of(text))?;
        Ok(Self { text: text.to_owned(), segments, is_directories_only, any_depth })
    }

    /// Whether a text has nothing special in it and so names one path. (Parentheses alone don't count: they are
    /// common in names.)
    pub fn is_plain_path(text: &str) -> bool {
        !text.contains(['*', '?', '[', '{', '\\'])
    }

    /// Whether what stands at `path` is a match.
    pub fn matches(&self, path: &RepoPath, object: &Object) -> bool {
        let fits_kind = match self.depth() {
            Depth::Exactly(0) => return path.is_root() && object.is_directory() && object.files > 0,
            _ if path.is_root() => return false, // `*` would take its empty name
            Depth::Exactly(_) => object.is_directory() || !self.is_directories_only,
            Depth::AnyFile => !object.is_directory(),
        };
        fits_kind
            && match &self.any_depth {
                Some(expression) => expression.is_match(path.as_str()),
                None => self.matches_by_name(path),
            }
    }

    fn matches_by_name(&self, path: &RepoPath) -> bool {
        let mut names = path.names();
        let fits = self.segments.iter().all(|segment| names.next().is_some_and(|name| segment.matches(name)));
        fits && names.next().is_none()
    }

    /// How deep matches lie.
    pub fn depth(&self) -> Depth {
        if self.segments.iter().any(|segment| matches!(segment, Segment::AnyDepth)) {
            Depth::AnyFile
        } else {
            Depth::Exactly(self.segments.len())
        }
    }

    /// The directory below which every match lies: the leading names without wildcards, the last one left out.
    pub fn prefix(&self) -> RepoPath {
        let before_last = self.segments.split_last().map_or(&[][..], |(_, before)| before);
        let names = before_last.iter().map_while(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            _ => None,
        });
        names.fold(RepoPath::ROOT, |path, name| path.join(name).unwrap_or(path))
    }

    /// Whether something below `directory` may match: where not, nobody need look there.
    pub fn may_match_below(&self, directory: &RepoPath) -> bool {
        let names: Vec<&str> = directory.names().collect();
        leaves_more(&self.segments, &names)
    }
}

impl Segment {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::AnyName | Self::AnyDepth => true,
            Self::Name(own) => own == name,
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

/// Whether, after `names`, some of the pattern is still to be matched.
fn leaves_more(segments: &[Segment], names: &[&str]) -> bool {
    let Some((segment, rest)) = segments.split_first() else { return false };
    let Some((name, below)) = names.split_first() else { return true };
    match segment {
        Segment::AnyDepth => true,
        segment => segment.matches(name) && leaves_more(rest, below),
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

/// The expression of a whole path from those of its names.
fn join(segments: &[Segment], expressions: &[String]) -> String {
    let mut whole = String::new();
    for (index, (segment, expression)) in segments.iter().zip(expressions).enumerate() {
        let is_last = index + 1 == segments.len();
        match segment {
            Segment::AnyDepth if is_last => whole.push_str("[^/]+(?:/[^/]+)*"),
            Segment::AnyDepth => whole.push_str("(?:[^/]+/)*"),
            _ => {
                whole.push_str(expression);
                whole.push_str(if is_last { "" } else { "/" });
            }
        }
    }
    whole
}

fn compile(expression: &str) -> Result<Regex, Cause> {
    RegexBuilder::new(&format!(r"\A(?:{expression})\z"))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|_| Cause::TooComplex)
}

/// One name of a pattern and its expression.
fn parse_name(name: &str) -> Result<(Segment, String), Cause> {
    match name {
        "" => return Err(Cause::EmptyName),
        "." | ".." => return Err(Cause::Dots),
        "*" => return Ok((Segment::AnyName, "[^/]+".to_owned())),
        "**" => return Ok((Segment::AnyDepth, String::new())),
        _ if name.contains("**") => return Err(Cause::StarsInName),
        _ => {}
    }
    let mut translation = Translation::default();
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        translation.take(c, &mut rest)?;
    }
    translation.finish()
}

/// A name on its way to an expression.
#[derive(Default)]
struct Translation {
    expression: String,
    plain: String,
    is_special: bool,
    open: Vec<char>,
}

impl Translation {
    fn take(&mut self, c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), Cause> {
        match c {
            '*' => self.special("[^/]*"),
            '?' => self.special("[^/]"),
            '[' => {
                let class = class(rest)?;
                self.special(&class);
            }
            '{' => self.open('{', "(?:"),
            '(' => self.open('(', "("),
            '}' if self.open.contains(&'{') => self.close('{')?,
            ')' if self.open.contains(&'(') => self.close('(')?,
            ')' => return Err(Cause::Unopened { c: ')' }),
            ',' if self.open.last() == Some(&'{') => self.special("|"),
            '\\' => match rest.next() {
                Some(c) => self.literal(c),
                None => return Err(Cause::Unclosed { c: '\\' }),
            },
            c => self.literal(c),
        }
        Ok(())
    }

    fn special(&mut self, expression: &str) {
        self.is_special = true;
        self.expression.push_str(expression);
    }

    fn open(&mut self, c: char, expression: &str) {
        self.open.push(c);
        self.special(expression);
    }

    fn close(&mut self, c: char) -> Result<(), Cause> {
        match self.open.pop() {
            Some(open) if open == c => self.special(")"),
            Some(open) => return Err(Cause::Unclosed { c: open }),
            None => return Err(Cause::Unclosed { c }),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.plain.push(c);
        self.expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn finish(self) -> Result<(Segment, String), Cause> {
        if let Some(&c) = self.open.last() {
            return Err(Cause::Unclosed { c });
        }
        if !self.is_special {
            return Ok((Segment::Name(self.plain), self.expression));
        }
        Ok((Segment::Pattern(compile(&self.expression)?), self.expression))
    }
}

/// A class, its `[` already taken. A `]` right at its start is one of its characters.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, Cause> {
    let is_negated = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut expression = String::from(if is_negated { "[^/" } else { "[" });
    let mut is_first = true;
    loop {
        let low = match rest.next() {
            None => return Err(Cause::Unclosed { c: '[' }),
            Some(']') if !is_first => break,
            Some('\\') => rest.next().ok_or(Cause::Unclosed { c: '[' })?,
            Some(c) => c,
        };
        is_first = false;
        expression.push_str(&code_point(low));
        if rest.peek() != Some(&'-') {
            continue;
        }
        let mut ahead = rest.clone();
        ahead.next();
        match ahead.next() {
            None => return Err(Cause::Unclosed { c: '[' }),
            Some(']') => {} // a `-` at the end stands for itself
            Some(high) => {
                let high = if high == '\\' { ahead.next().ok_or(Cause::Unclosed { c: '[' })? } else { high };
                if high < low {
                    return Err(Cause::Reversed { low, high });
                }
                expression.push('-');
                expression.push_str(&code_point(high));
                *rest = ahead;
            }
        }
    }
    expression.push(']');
    Ok(expression)
}

fn code_point(c: char) -> String {
    format!(r"\x{{{:x}}}", u32::from(c))
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("`//` names nothing: put one `/` between two names")]
    EmptyName,
    #[error("`.` and `..` may not be names: write the path from the repo's root")]
    Dots,
    #[error("`**` must stand alone between slashes, as in /a/**/b: within a name write `*`")]
    StarsInName,
    #[error(
        "a pattern that ends in `/` matches directories, which need a fixed depth: write /*/ for those at the top, or end in ** for all files"
    )]
    DirectoriesAtAnyDepth,
    #[error("`{c}` has no end within its name: close it before the next `/`, or write `\\{c}` to mean the character")]
    Unclosed { c: char },
    #[error("`{c}` has no beginning: write `\\{c}` to mean the character")]
    Unopened { c: char },
    #[error("the range {low}-{high} runs backwards: write {high}-{low}")]
    Reversed { low: char, high: char },
    #[error("it has too many alternatives: split it over several inputs and unite them by `union`")]
    TooComplex,
}

impl Cause {
    fn of(self, pattern: &str) -> GlobError {
        GlobError::Invalid { pattern: pattern.to_owned(), what: self.to_string() }
    }
}

/// Why a pattern can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It doesn't begin with `/`.
    #[error("`{pattern}` must begin with `/`, as every path does: write `/{pattern}`")]
    NotAbsolute {
        /// The pattern.
        pattern: String,
    },
    /// Something in it can't be.
    #[error("`{pattern}`: {what}")]
    Invalid {
        /// The pattern.
        pattern: String,
        /// What is wrong, and what to write instead.
        what: String,
    },
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
