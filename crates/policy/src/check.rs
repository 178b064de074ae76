//! Every mistake in a configuration, at once.

use crate::command::Vocabulary;
use crate::config::{Config, Effect, Expected, OneOrMany, Range, Rule};
use crate::{arguments, cover, glob};

/// Most rules in a policy.
pub const MAX_RULES: usize = 1000;
/// Most words in one list of a rule.
pub const MAX_LIST_WORDS: usize = 1000;

/// What a rule's words are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The words of every protocol that is there.
    pub vocabularies: &'a [Vocabulary],
    /// Names of the configured targets; none: don't check.
    pub targets: Option<&'a [&'a str]>,
    /// Kinds of principal that an issuer's mapping gives out; none: don't check.
    pub kinds: Option<&'a [&'a str]>,
}

/// What sort of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A word that nobody knows.
    UnknownWord,
    /// An empty list or name: the rule could not match, or not be named.
    Empty,
    /// Two rules of one name.
    Duplicate,
    /// The rule, or one of its words, can never match anything.
    Unreachable,
    /// More or longer than allowed.
    TooLarge,
    /// Written, but not built yet.
    NotAvailable,
}

/// One mistake. The fault is the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// Where: `policy.rule[3].when.class`, rules counted from 0 in file order.
    pub path: String,
    /// What sort.
    pub kind: ProblemKind,
    /// What is wrong and what would be right, for the operator.
    pub message: String,
    /// The rule's index, if the whole rule can never decide a command.
    pub dead_rule: Option<usize>,
}

/// Everything that is wrong with a policy; nothing if it can be used.
#[must_use]
pub fn check(config: &Config, known: &Known<'_>) -> Vec<Problem> {
    let mut found = Findings { known, problems: Vec::new(), path: String::new() };
    if config.rules.len() > MAX_RULES {
        found.path = "policy.rule".to_owned();
        let message = format!("{} rules, at most {MAX_RULES} are allowed", config.rules.len());
        found.add("", ProblemKind::TooLarge, message);
        return found.problems;
    }
    for (at, rule) in config.rules.iter().enumerate() {
        found.path = format!("policy.rule[{at}]");
        let earlier = config.rules.get(..at).unwrap_or_default();
        let before = found.problems.len();
        found.name(rule, earlier);
        found.principals(rule);
        found.targets(at, rule);
        found.words(at, rule);
        found.lengths(rule);
        // A rule with a mistake of its own is not compared: its words mean nothing yet.
        if found.problems.len() == before {
            found.shadow(at, rule, earlier);
        }
    }
    found.problems
}

struct Findings<'a> {
    known: &'a Known<'a>,
    problems: Vec<Problem>,
    path: String,
}

impl Findings<'_> {
    fn add(&mut self, below: &str, kind: ProblemKind, message: String) {
        let path = format!("{}{below}", self.path);
        self.problems.push(Problem { path, kind, message, dead_rule: None });
    }

    fn dead(&mut self, at: usize, below: &str, message: String) {
        self.add(below, ProblemKind::Unreachable, message);
        if let Some(last) = self.problems.last_mut() {
            last.dead_rule = Some(at);
        }
    }

    fn name(&mut self, rule: &Rule, earlier: &[Rule]) {
        if rule.name.trim().is_empty() {
            self.add(".name", ProblemKind::Empty, "the rule needs a name".to_owned());
        } else if rule.name == crate::DEFAULT_RULE {
            let message = "`default` names the default in records; take another name".to_owned();
            self.add(".name", ProblemKind::Duplicate, message);
        } else if let Some(first) = earlier.iter().position(|other| other.name == rule.name) {
            let message = format!("`{}` is also the name of policy.rule[{first}]", rule.name);
            self.add(".name", ProblemKind::Duplicate, message);
        }
        if rule.effect == Effect::Hold {
            let message = "hold is not available yet; write deny, or leave the rule out".to_owned();
            self.add(".effect", ProblemKind::NotAvailable, message);
        }
    }

    fn principals(&mut self, rule: &Rule) {
        let Some(kinds) = self.known.kinds else { return };
        for kind in rule.principals.kind.iter().flat_map(OneOrMany::words) {
            if !kinds.contains(&kind.as_str()) {
                let message = format!(
                    "no issuer gives out the kind `{kind}`; there are: {}",
                    kinds.join(", ")
                );
                self.add(".principals.kind", ProblemKind::UnknownWord, message);
            }
        }
    }

    fn targets(&mut self, at: usize, rule: &Rule) {
        let (Some(targets), Some(patterns)) = (self.known.targets, &rule.targets) else { return };
        let none = |pattern: &&String| !targets.iter().any(|target| glob::matches(pattern, target));
        let idle: Vec<&String> = patterns.iter().filter(none).collect();
        let all = idle.len() == patterns.len();
        for pattern in &idle {
            let message = format!("`{pattern}` matches no configured target");
            if all {
                self.dead(at, ".targets", message);
            } else {
                self.add(".targets", ProblemKind::Unreachable, message);
            }
        }
    }

    /// Classes, operations, flags and protocols must be some protocol's words, and of one protocol
    /// all together.
    fn words(&mut self, at: usize, rule: &Rule) {
        let when = &rule.when;
        let vocabularies = self.known.vocabularies;
        let before = self.problems.len();
        let list = |words: &Option<OneOrMany>| {
            words.as_ref().map(|words| words.words().to_vec()).unwrap_or_default()
        };
        for protocol in list(&when.protocol) {
            if !vocabularies.iter().any(|it| it.protocol == protocol) {
                let known: Vec<&str> = vocabularies.iter().map(|it| it.protocol).collect();
                self.unknown(".when.protocol", "protocol", &protocol, &known);
            }
        }
        let protocols = list(&when.protocol);
        let mine: Vec<Vocabulary> = vocabularies
            .iter()
            .filter(|it| when.protocol.is_none() || protocols.iter().any(|p| p == it.protocol))
            .copied()
            .collect();
        for class in list(&when.class) {
            if !mine.iter().any(|it| has_class(it, &class)) {
                let known: Vec<&str> = mine.iter().flat_map(|it| it.classes).copied().collect();
                self.unknown(".when.class", "class", &class, &known);
            }
        }
        for operation in when.operations.iter().flatten() {
            if !mine.iter().any(|it| has_operation(it, operation)) {
                self.unknown(".when.operations", "operation", operation, &[]);
            }
        }
        for flag in when.flags.iter().flatten() {
            if !mine.iter().any(|it| has_flag(it, flag)) {
                let known: Vec<&str> = mine.iter().flat_map(|it| it.flags).copied().collect();
                self.unknown(".when.flags", "flag", flag, &known);
            }
        }
        if when.functions.is_some() && !mine.iter().any(|it| it.calls) {
            let message = "no protocol here calls functions".to_owned();
            if rule.effect == Effect::Allow {
                // What calls nothing is let through all the same.
                self.add(".when.functions", ProblemKind::Unreachable, message);
            } else {
                self.dead(at, ".when.functions", message);
            }
        }
        self.arguments(at, rule, &mine);
        if self.problems.len() > before {
            return;
        }
        let fits = |it: &Vocabulary| {
            when.class.as_ref().is_none_or(|words| words.words().iter().any(|w| has_class(it, w)))
                && when.operations.as_ref().is_none_or(|ws| ws.iter().any(|w| has_operation(it, w)))
                && when.flags.as_ref().is_none_or(|ws| ws.iter().any(|w| has_flag(it, w)))
                && (when.functions.is_none() || rule.effect == Effect::Allow || it.calls)
                && when.arguments.iter().flatten().all(|(name, _)| has_argument(it, name))
        };
        let empty =
            [&when.operations, &when.flags].iter().any(|it| it.as_ref().is_some_and(Vec::is_empty))
                || when.class.as_ref().is_some_and(|it| it.words().is_empty());
        if !mine.is_empty() && !empty && !mine.iter().any(fits) {
            let message = "no protocol has all of these words together".to_owned();
            self.dead(at, ".when", message);
        }
        if rule.principals.delegated == Some(false) && rule.principals.on_behalf_of.is_some() {
            let message = "`delegated = false` and `on_behalf_of` exclude each other".to_owned();
            self.dead(at, ".principals", message);
        }
    }

    /// Arguments must be some protocol's, have something to fit, and be able to.
    fn arguments(&mut self, at: usize, rule: &Rule, mine: &[Vocabulary]) {
        const PATH: &str = ".when.arguments";
        let Some(named) = &rule.when.arguments else { return };
        if named.is_empty() {
            let message = "no argument is named; leave it out to match anything".to_owned();
            self.add(PATH, ProblemKind::Empty, message);
        }
        if named.len() > MAX_LIST_WORDS {
            let message = format!("{} names, at most {MAX_LIST_WORDS} are allowed", named.len());
            return self.add(PATH, ProblemKind::TooLarge, message);
        }
        if mine.iter().all(|it| it.arguments.is_empty()) {
            return self.dead(at, PATH, "no protocol here has arguments".to_owned());
        }
        for (name, expected) in named {
            if !mine.iter().any(|it| has_argument(it, name)) {
                let known: Vec<&str> = mine.iter().flat_map(|it| it.arguments).copied().collect();
                let message = format!("`{name}` names no argument; names begin with");
                let message = format!("{message}: {}", known.join(", "));
                self.add(PATH, ProblemKind::UnknownWord, message);
            }
            self.expected(name, expected);
        }
    }

    fn expected(&mut self, name: &str, expected: &Expected) {
        const PATH: &str = ".when.arguments";
        let longest = glob::MAX_PATTERN_BYTES;
        if name.len() > longest {
            let message = format!("the name of an argument is longer than {longest} bytes");
            self.add(PATH, ProblemKind::TooLarge, message);
        }
        match expected {
            Expected::Patterns(patterns) => {
                let patterns = patterns.words();
                if patterns.is_empty() {
                    let message = format!("an empty list matches nothing; write `{name} = \"*\"`");
                    self.add(PATH, ProblemKind::Empty, message);
                }
                if patterns.len() > MAX_LIST_WORDS || patterns.iter().any(|it| it.len() > longest) {
                    let message = format!(
                        "`{name}` has more than {MAX_LIST_WORDS} patterns, or one of more than \
                         {longest} bytes"
                    );
                    self.add(PATH, ProblemKind::TooLarge, message);
                }
            }
            Expected::Range(Range { min: None, max: None }) => {
                let message = format!("`{name}` needs `min`, `max` or both");
                self.add(PATH, ProblemKind::Empty, message);
            }
            Expected::Range(Range { min: Some(min), max: Some(max) }) if min > max => {
                let message = format!("`{name}`: no number is from {min} to {max}");
                self.add(PATH, ProblemKind::Unreachable, message);
            }
            Expected::Range(_) => {}
        }
    }

    fn unknown(&mut self, below: &str, what: &str, word: &str, known: &[&str]) {
        let mut message = format!("no protocol has the {what} `{word}`");
        if !known.is_empty() {
            let mut known = known.to_vec();
            known.sort_unstable();
            known.dedup();
            message = format!("{message}; there are: {}", known.join(", "));
        }
        self.add(below, ProblemKind::UnknownWord, message);
    }

    fn lengths(&mut self, rule: &Rule) {
        let (by, when) = (&rule.principals, &rule.when);
        let words = |it: &Option<OneOrMany>| it.as_ref().map(|it| it.words().to_vec());
        let lists: [(&str, Option<Vec<String>>); 12] = [
            (".principals.kind", words(&by.kind)),
            (".principals.groups", by.groups.clone()),
            (".principals.subjects", by.subjects.clone()),
            (".principals.issuers", by.issuers.clone()),
            (".principals.on_behalf_of", by.on_behalf_of.clone()),
            (".targets", rule.targets.clone()),
            (".when.protocol", words(&when.protocol)),
            (".when.class", words(&when.class)),
            (".when.operations", when.operations.clone()),
            (".when.resources", when.resources.clone()),
            (".when.functions", when.functions.clone()),
            (".when.flags", when.flags.clone()),
        ];
        for (path, list) in lists {
            let Some(list) = list else { continue };
            if list.is_empty() {
                let message = "an empty list matches nothing; leave it out to match anything";
                self.add(path, ProblemKind::Empty, message.to_owned());
            }
            if list.iter().any(String::is_empty) {
                self.add(path, ProblemKind::Empty, "an empty word matches nothing".to_owned());
            }
            if list.len() > MAX_LIST_WORDS {
                let message = format!("{} words, at most {MAX_LIST_WORDS} are allowed", list.len());
                self.add(path, ProblemKind::TooLarge, message);
            }
            if list.iter().any(|word| word.len() > glob::MAX_PATTERN_BYTES) {
                let message = format!("a word is longer than {} bytes", glob::MAX_PATTERN_BYTES);
                self.add(path, ProblemKind::TooLarge, message);
            }
        }
    }

    fn shadow(&mut self, at: usize, rule: &Rule, earlier: &[Rule]) {
        let Some(by) = cover::shadowed(rule, earlier) else { return };
        let names: Vec<String> = by
            .iter()
            .filter_map(|at| earlier.get(*at).map(|rule| format!("`{}`", rule.name)))
            .collect();
        let message = format!(
            "`{}` can never fire: {} before it match{} everything it would",
            rule.name,
            names.join(", "),
            if names.len() == 1 { "es" } else { "" },
        );
        self.dead(at, "", message);
    }
}

fn has_class(vocabulary: &Vocabulary, word: &str) -> bool {
    vocabulary.classes.contains(&word)
}

fn has_flag(vocabulary: &Vocabulary, word: &str) -> bool {
    vocabulary.flags.contains(&word)
}

fn has_operation(vocabulary: &Vocabulary, pattern: &str) -> bool {
    vocabulary.operations.is_empty()
        || vocabulary.operations.iter().any(|it| glob::matches_any_case(pattern, it))
}

fn has_argument(vocabulary: &Vocabulary, name: &str) -> bool {
    vocabulary.arguments.iter().any(|prefix| arguments::may_begin(name, prefix))
}
