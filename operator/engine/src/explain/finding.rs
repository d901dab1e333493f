//! What stands in the way, in its parts, and how the parts become a message. All messages are put together here, so
//! that each says what happened, why, what can be done and by whom, and glosses what it calls by Kubernetes' names.

use std::fmt::Write as _;

use varve_api::conditions::Reason;

/// Somebody who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever wrote the Pipeline or the Commit.
    You,
    /// Whoever gives out what the namespace may use.
    Namespace,
    /// Whoever runs the cluster.
    Cluster,
    /// Whoever installed Varve.
    Installer,
}

impl Who {
    fn as_str(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Namespace => "whoever runs the namespace",
            Self::Cluster => "whoever runs the cluster",
            Self::Installer => "whoever installed Varve",
        }
    }
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The word for conditions, Events and logs.
    pub reason: Reason,
    /// What happened.
    pub what: String,
    /// Why; empty where what happened says it.
    pub why: String,
    /// What can be done, each part by whom; empty where nothing need be.
    pub to_do: Vec<(Who, String)>,
    /// Kubernetes' or a program's own words, where they say more.
    pub said: String,
    /// Whether no waiting helps: a fresh batch Job would meet the same.
    pub is_hopeless: bool,
}

impl Finding {
    /// Something that may pass.
    pub(super) fn new(reason: Reason, what: impl Into<String>, why: impl Into<String>) -> Self {
        let (what, why) = (what.into(), why.into());
        Self { reason, what, why, to_do: Vec::new(), said: String::new(), is_hopeless: false }
    }

    /// With something that these people can do.
    pub(super) fn can(mut self, who: Who, what: impl Into<String>) -> Self {
        self.to_do.push((who, what.into()));
        self
    }

    /// With somebody else's own words.
    pub(super) fn said(mut self, words: &str) -> Self {
        self.said = quote(words);
        self
    }

    /// That no waiting helps against.
    pub(super) fn hopeless(mut self, is_hopeless: bool) -> Self {
        self.is_hopeless = is_hopeless;
        self
    }

    /// The sentence, or a few: what, why, what to do, Kubernetes' words, and what these words mean.
    pub fn message(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        let mut message = format!("{}{why}. {}", self.what, to_do(&self.to_do));
        let glosses = glosses(&message);
        if !self.said.is_empty() {
            let _ = write!(message, " Kubernetes says: {}.", self.said);
        }
        message + &glosses
    }
}

/// What can be done, as a sentence.
pub(super) fn to_do(remedies: &[(Who, String)]) -> String {
    if remedies.is_empty() {
        return "Nothing need be done.".into();
    }
    let parts: Vec<String> = remedies.iter().map(|(who, what)| format!("{} can {what}", who.as_str())).collect();
    let sentence = parts.join("; ");
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase()).into_iter();
    first.chain(letters).chain(['.']).collect()
}

/// What Kubernetes' names mean, in the words of those who need not know them.
pub(super) const GLOSSES: [(&str, &str); 17] = [
    ("pod", "a pod is one running copy of the program, with Varve's own beside it"),
    ("node", "a node is a machine of the cluster"),
    ("batch Job", "a batch Job is what Kubernetes calls a list of pods that are to run to their end"),
    ("taint", "a taint is a mark on a node that keeps pods away which do not tolerate it"),
    ("label", "a label is a name with a value that nodes, pods and other objects carry"),
    ("affinity", "an affinity is a rule about which nodes, or which other pods, a pod may be with"),
    ("quota", "a quota is a limit on what everything in a namespace may ask for together"),
    ("namespace", "a namespace is the part of the cluster in which this object lives"),
    ("LimitRange", "a LimitRange is a rule of the namespace about what one container or pod may ask for"),
    ("Pod Security", "Pod Security is the namespace's set of rules about what pods may do"),
    (
        "admission webhook",
        "an admission webhook is a program of the cluster's that looks at every object before it is made",
    ),
    (
        "admission policy",
        "an admission policy is a rule of the cluster's that every object is held to before it is made",
    ),
    ("PersistentVolumeClaim", "a PersistentVolumeClaim is a request for a disk that outlives pods"),
    ("ConfigMap", "a ConfigMap is an object that holds settings as text"),
    ("Secret", "a Secret is an object that holds passwords and keys"),
    ("ServiceAccount", "a ServiceAccount is the name under which pods act in the cluster"),
    ("RuntimeClass", "a RuntimeClass is a way in which nodes run containers, by name"),
];

/// What the words mean that the message uses of Kubernetes', in brackets; nothing where it uses none.
fn glosses(message: &str) -> String {
    let mut used: Vec<(usize, &str)> =
        GLOSSES.iter().filter_map(|(noun, gloss)| Some((mention(message, noun)?, *gloss))).collect();
    used.sort_unstable();
    let meanings: Vec<&str> = used.into_iter().map(|(_, gloss)| gloss).collect();
    if meanings.is_empty() { String::new() } else { format!(" (Here {}.)", meanings.join("; ")) }
}

/// Where a text first uses the noun, or its plural, as a word: in a field's name, such as `pod.volumes`, it is none.
pub(super) fn mention(text: &str, noun: &str) -> Option<usize> {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '/' | '"');
    text.match_indices(noun).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = &text[at + noun.len()..];
        let after = after.strip_prefix('s').unwrap_or(after);
        let mut next = after.chars();
        let is_field = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        let ends = match next.next() {
            Some('.') => !is_field(next.next()),
            letter => !letter.is_some_and(is_part),
        };
        ends && !before.is_some_and(|letter| is_part(letter) || letter == '.')
    })
}

/// The most characters of Kubernetes' or a program's own words in one message.
pub(super) const MAX_QUOTE: usize = 400;

/// Somebody else's words: on one line, without its end's full stop, cut to a length.
pub(super) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
