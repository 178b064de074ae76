//! Text for a terminal: nothing recorded may steer it, and tables that line up.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Makes text harmless to print: every character that a terminal obeys instead of showing
/// (C0, DEL and C1 controls) and those that reorder or hide text (bidirectional controls,
/// zero-width characters, line separators) become visible escapes. Line feeds and tabs too:
/// a line of a report is one record's.
#[must_use]
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_hostile(c) && u32::from(c) < 0x100 => {
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_hostile(c) => {
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069
            | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether to use them.
    pub colour: bool,
}

impl Style {
    /// Colours if the output is a terminal and `NO_COLOR` (no-color.org) is unset or empty.
    #[must_use]
    pub fn new(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style { colour: is_terminal && !refused && !dumb }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For headings.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what is as it must be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what is wrong, or denied.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For what is not the point.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// The widest a cell of a table gets, in characters, unless set.
pub const CELL_WIDTH: usize = 48;

/// The widest a column is made for the sake of one of its cells, in characters: a longer cell
/// shifts what is behind it (and a formatting width beyond 65,535 is a panic).
const MAX_PADDED: usize = 256;

/// Rows and columns in plain text. Cells are sanitised and cut.
#[derive(Debug, Clone)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    cell_width: usize,
    indent: usize,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<S: AsRef<str>>(head: impl IntoIterator<Item = S>) -> Self {
        let head = head.into_iter().map(|cell| sanitise(cell.as_ref()).into_owned()).collect();
        Table { head, rows: Vec::new(), cell_width: CELL_WIDTH, indent: 0 }
    }

    /// Cuts cells at this many characters.
    #[must_use]
    pub fn cell_width(mut self, width: usize) -> Self {
        self.cell_width = width.max(1);
        self
    }

    /// Begins every line with this many spaces.
    #[must_use]
    pub fn indent(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    /// Adds a row.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cell = |cell: S| cut(&sanitise(cell.as_ref()), self.cell_width);
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, each with its line feed.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.head.len());
        let width = |column: usize| {
            let all = self.rows.iter().chain([&self.head]).filter_map(|row| row.get(column));
            all.map(|cell| cell.chars().count()).max().unwrap_or(0).min(MAX_PADDED)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &[String]| {
            let mut out = " ".repeat(self.indent);
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let _infallible = write!(out, "{cell:<width$}  ");
            }
            out.truncate(out.trim_end().len());
            out
        };
        let mut out = style.bold(&line(&self.head));
        out.push('\n');
        for row in &self.rows {
            out.push_str(&line(row));
            out.push('\n');
        }
        out
    }
}

/// Cuts at a number of characters, with an ellipsis where something was left out.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attack_17_recorded_text_cannot_steer_a_terminal() {
        for (hostile, shown) in [
            ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
            ("a\u{9b}31mred", "a\\x9b31mred"),
            ("row\r\nfake row\tx", "row\\r\\nfake row\\tx"),
            ("pay \u{202e}evil", "pay \\u{202e}evil"),
            ("ad\u{200b}min", "ad\\u{200b}min"),
        ] {
            assert_eq!(sanitise(hostile), shown);
        }
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["a", "long"]).indent(1);
        table.row(["wide cell", "x"]);
        table.row(["y", "\x07"]);
        assert_eq!(
            table.render(Style::default()),
            " a          long\n wide cell  x\n y          \\x07\n"
        );
    }

    #[test]
    fn a_very_long_cell_does_not_widen_the_others() {
        let mut table = Table::new(["a", "b"]).cell_width(usize::MAX);
        let long = "x".repeat(100_000);
        table.row([long.as_str(), "end"]);
        table.row(["y", "end"]);
        let shown = table.render(Style::default());
        assert!(shown.contains(&format!("{long}  end\n")));
        assert!(shown.len() < 101_000, "{}", shown.len());
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("äöüß", 4), "äöüß");
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(text in "\\PC*|[\\x00-\\x9f]{0,40}") {
            prop_assert!(!sanitise(&text).chars().any(is_hostile));
        }
    }
}
