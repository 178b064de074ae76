//! One chain of commands over several logs: the commands that carry one trace id.

use serde::Serialize;

use crate::item::Exchange;

/// A command of a chain, and those that ran because of it, as far as times tell.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Which log it is from, as the reader calls it.
    pub log: String,
    /// The command.
    pub exchange: Exchange,
    /// Commands that were asked for while this one was under way, in the order of time.
    pub steps: Vec<Step>,
}

/// Orders a chain's commands by time and puts each below the command that was under way when it
/// was asked for: the innermost one, of another session. What called what is not on record (no
/// step of ours has an id, and callers need not say theirs), so this is what the times of the
/// proxies' hosts say; clocks that differ show in it.
#[must_use]
pub fn chain(found: Vec<(String, Exchange)>) -> Vec<Step> {
    let mut found = found;
    found.sort_by_key(|(log, exchange)| (exchange.time.unix_micros(), log.clone(), exchange.index));
    let (mut whole, mut open): (Vec<Step>, Vec<Step>) = (Vec::new(), Vec::new());
    for (log, exchange) in found {
        while open.last().is_some_and(|last| !covers(&last.exchange, &exchange)) {
            close(&mut open, &mut whole);
        }
        open.push(Step { log, exchange, steps: Vec::new() });
    }
    while !open.is_empty() {
        close(&mut open, &mut whole);
    }
    whole
}

/// Puts the innermost open step where it belongs.
fn close(open: &mut Vec<Step>, whole: &mut Vec<Step>) {
    if let Some(step) = open.pop() {
        match open.last_mut() {
            Some(outer) => outer.steps.push(step),
            None => whole.push(step),
        }
    }
}

/// Whether the first was under way when the second was asked for.
fn covers(outer: &Exchange, inner: &Exchange) -> bool {
    // Without an outcome it was denied and never under way; or it never ended, and nobody knows.
    let Some(outcome) = &outer.outcome else { return false };
    outer.session != inner.session && inner.time.unix_micros() <= outcome.time.unix_micros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Joiner};

    /// A command from one moment to another, as its log says it.
    fn exchange(session: &str, from: u32, to: Option<u32>) -> Exchange {
        let mut joiner = Joiner::new();
        let verdict = if to.is_some() { "allow" } else { "deny" };
        let command = format!(
            r#"{{"v":1,"type":"command","time":"2026-11-23T16:00:{from:02}.000000Z","salt":"00",
            "session":"{session}","command":1,"principal":{{"issuer":"i","subject":"s","kind":"agent"}},
            "target":"t","via":"v","operation":"o","class":"c","text_bytes":0,"verdict":"{verdict}",
            "rule":"r","policy":"p"}}"#
        );
        let mut items = joiner.push(0, command.as_bytes());
        if let Some(to) = to {
            let response = format!(
                r#"{{"v":1,"type":"response","time":"2026-11-23T16:00:{to:02}.000000Z","salt":"00",
                "session":"{session}","command":1,"outcome":"ok","rows":0,"bytes":0,"duration_us":1}}"#
            );
            items = joiner.push(1, response.as_bytes());
        }
        match items.pop() {
            Some(Item::Exchange(exchange)) => *exchange,
            other => panic!("{other:?}"),
        }
    }

    /// A chain in brackets.
    fn words(steps: &[Step]) -> String {
        let word = |step: &Step| format!("{}({})", step.exchange.session, words(&step.steps));
        steps.iter().map(word).collect()
    }

    #[test]
    fn a_command_is_below_the_one_that_was_under_way() {
        let all = [
            exchange("ssh", 4, Some(5)),
            exchange("later", 9, Some(10)),
            exchange("mcp", 1, Some(8)),
            exchange("sql", 2, Some(3)),
            exchange("denied", 6, None),
            exchange("deep", 6, Some(7)),
        ];
        let found = all.map(|it| ("log".to_owned(), it)).to_vec();
        assert_eq!(words(&chain(found)), "mcp(sql()ssh()denied()deep())later()");
    }

    #[test]
    fn commands_of_one_session_are_side_by_side() {
        let two = [exchange("a", 1, Some(8)), exchange("a", 2, Some(3))];
        let found = two.map(|it| ("log".to_owned(), it)).to_vec();
        assert_eq!(words(&chain(found)), "a()a()");
        assert!(chain(Vec::new()).is_empty());
    }
}
