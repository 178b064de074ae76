//! One line as a terminal shows it, rows that it wrapped onto joined, and which bytes printed
//! each of its cells.

/// No print, no cell.
const NONE: u32 = u32::MAX;

/// A character that was printed: where its bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Print {
    /// Its first byte.
    pub(super) at: u64,
    pub(super) bytes: u8,
    /// Columns.
    pub(super) width: u8,
    /// The print before it in the same cell.
    before: u32,
    pub(super) masked: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// What it shows; none for the second half of a wide character.
    pub(super) shown: Option<char>,
    /// The last print in it.
    pub(super) last: u32,
    /// An underline was printed over what it shows: a pager shows both, a screen the underline.
    pub(super) under: bool,
}

const BLANK: Cell = Cell { shown: Some(' '), last: NONE, under: false };

#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) cells: Vec<Cell>,
    prints: Vec<Print>,
    /// The cell that is printed to next.
    pub(super) pos: usize,
    /// The cell at the beginning of the cursor's row; below 0 if the line was split there.
    pub(super) row: i64,
    /// Cells at which a row that was full ended, without the terminal having wrapped it.
    pub(super) joints: Vec<usize>,
    /// Something was printed since it was last looked at.
    pub(super) fresh: bool,
    /// The first byte of it that is held back.
    pub(super) started: Option<u64>,
    /// Nothing more is printed to it.
    pub(super) closed: bool,
    /// How many of its characters are being looked at.
    pub(super) asked: usize,
}

impl Line {
    /// One whose cursor is at a column.
    pub(super) fn at(column: usize) -> Self {
        Line { pos: column, ..Line::default() }
    }

    /// The cursor's column.
    pub(super) fn column(&self) -> usize {
        let column = i64::try_from(self.pos).unwrap_or(i64::MAX) - self.row;
        usize::try_from(column).unwrap_or(0)
    }

    /// The first cell of the cursor's row.
    pub(super) fn row_start(&self) -> usize {
        usize::try_from(self.row).unwrap_or(0)
    }

    pub(super) fn go_to(&mut self, column: usize) {
        let at = self.row.saturating_add(i64::try_from(column).unwrap_or(i64::MAX));
        self.pos = usize::try_from(at).unwrap_or(0);
    }

    /// Whether something other than this would be overwritten.
    pub(super) fn would_change(&self, c: Option<char>, width: usize) -> bool {
        let under = self.cells.iter().skip(self.pos).take(width);
        // A line under a character is no text of its own, and comes before or behind it.
        let plain = |it: &Option<char>| matches!(it, Some(' ' | '_')) || *it == c;
        under.map(|cell| cell.shown).any(|shown| !plain(&shown))
    }

    /// Puts a character at the cursor.
    pub(super) fn put(&mut self, c: char, at: u64, bytes: u8, width: u8, key: Option<(u64, u8)>) {
        if self.cells.len() < self.pos {
            self.cells.resize(self.pos, BLANK);
        }
        let first = key.map_or(at, |(key, _)| key.min(at));
        self.started = Some(self.started.map_or(first, |started| started.min(first)));
        self.fresh = true;
        let mut last = self.cells.get(self.pos).map_or(NONE, |cell| cell.last);
        if let Some((at, bytes)) = key {
            last = self.print(Print { at, bytes, width: 1, before: last, masked: false });
        }
        last = self.print(Print { at, bytes, width, before: last, masked: false });
        for half in 0..usize::from(width) {
            let shown = (half == 0).then_some(c);
            self.set(self.pos + half, Cell { shown, last, under: false });
        }
        self.pos += usize::from(width);
    }

    fn set(&mut self, at: usize, new: Cell) {
        match self.cells.get_mut(at) {
            Some(cell) => {
                // An underline does not hide what it is under.
                let kept = cell.shown.filter(|_| new.shown == Some('_') && cell.shown != Some(' '));
                *cell = Cell { shown: kept.or(new.shown), under: kept.is_some(), ..new };
            }
            None => self.cells.push(new),
        }
    }

    /// Adds what takes no column to the character before the cursor.
    pub(super) fn combine(&mut self, at: u64, bytes: u8) {
        let Some(before) = self.pos.checked_sub(1) else { return };
        let Some(last) = self.cells.get(before).map(|cell| cell.last) else { return };
        let last = self.print(Print { at, bytes, width: 0, before: last, masked: false });
        if let Some(cell) = self.cells.get_mut(before) {
            cell.last = last;
        }
        self.started.get_or_insert(at);
    }

    fn print(&mut self, print: Print) -> u32 {
        let number = u32::try_from(self.prints.len()).unwrap_or(NONE);
        self.prints.push(print);
        number
    }

    /// Blanks so many cells behind the cursor, or all behind `from` of the row.
    pub(super) fn blank(&mut self, from: usize, to: usize) {
        for cell in self.cells.iter_mut().take(to).skip(from) {
            *cell = Cell { last: cell.last, ..BLANK };
        }
    }

    /// Takes so many cells out at the cursor, or puts blanks in.
    pub(super) fn shift(&mut self, out: usize, blanks: usize) {
        let to = self.cells.len().min(self.pos.saturating_add(out));
        if self.pos < to {
            self.cells.drain(self.pos..to);
        }
        if self.pos < self.cells.len() {
            let behind = self.cells.split_off(self.pos);
            self.cells.resize(self.pos + blanks, BLANK);
            self.cells.extend(behind);
        }
    }

    /// Marks all that was printed to a cell as of this print; whether any was not marked yet.
    pub(super) fn mask(&mut self, print: u32, mut each: impl FnMut(&Print)) -> bool {
        let (mut at, mut new) = (print, false);
        while let Some(print) = self.prints.get_mut(at as usize) {
            if !std::mem::replace(&mut print.masked, true) {
                new = true;
                each(print);
            }
            at = print.before;
        }
        new
    }

    /// Forgets where its characters came from: their bytes are gone.
    pub(super) fn forget(&mut self) {
        self.prints.clear();
        self.started = None;
        for cell in &mut self.cells {
            cell.last = NONE;
        }
    }
}
