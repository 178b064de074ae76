//! Whatever stands in a log: reading it back must not panic, and what is printed of it must not
//! steer a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trail::{Item, Joiner, Part};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 2 == 1 {
        // As a recorded answer of PostgreSQL.
        return show(&trail::answer(data, &[], 8));
    }
    for joiner in [Joiner::new(), Joiner::with_answers(), Joiner::new().from_middle()] {
        let mut joiner = joiner;
        // JSON holds no line break: each line is an entry.
        let lines = data.split(|b| *b == b'\n').enumerate();
        let mut items: Vec<Item> =
            lines.flat_map(|(index, line)| joiner.push(index as u64, line)).collect();
        items.extend(joiner.finish());
        for item in &items {
            let json = serde_json::to_string(item).expect("an item is JSON");
            assert!(!trail::term::sanitise(&json).chars().any(char::is_control));
            let Item::Exchange(exchange) = item else { continue };
            for part in exchange.outcome.iter().flat_map(|outcome| &outcome.parts) {
                if let Part::Inline { bytes, .. } = part {
                    let results = exchange.outcome.as_ref().map(|outcome| &outcome.results);
                    show(&trail::answer(bytes, results.expect("it has parts"), 8));
                }
            }
        }
    }
});

fn show(answer: &trail::Answer) {
    for set in &answer.sets {
        let mut table = trail::term::Table::new(&set.columns).cell_width(usize::MAX);
        for row in &set.rows {
            table.row(row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")));
        }
        let shown = table.render(trail::term::Style::default());
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
    }
}
