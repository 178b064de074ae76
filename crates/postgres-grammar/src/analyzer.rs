//! The analyzer: limits, the cache, and where the parser runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::Cache;
use crate::prescan::{self, Key};
use crate::types::{Analysis, Class, ParseError};
use crate::{depth, parse, types};

/// Default of [`Limits::max_sql_bytes`]: 256 KiB. A miss takes time in proportion to the text's
/// length (the example `cost` prints how much); people and programs write texts of a few KiB, bulk
/// loaders that put rows into INSERT the longest. Raise it for those.
pub const DEFAULT_MAX_SQL_BYTES: usize = 256 << 10;
/// Texts up to this length take about a millisecond at most on a miss; see [`Analyzer::is_quick`].
/// Bytes.
pub const QUICK_SQL_BYTES: usize = 2 << 10;
/// Default of [`Limits::max_depth`], levels of nesting.
pub const DEFAULT_MAX_DEPTH: usize = 500;
/// Default of [`Limits::cache_entries`].
pub const DEFAULT_CACHE_ENTRIES: usize = 8_192;
/// Default of [`Limits::cache_bytes`]: 16 MiB.
pub const DEFAULT_CACHE_BYTES: usize = 16 << 20;
/// Texts whose tree is no deeper than this (by the bound from their tokens) are parsed on the
/// caller's stack. Levels; fewer in a debug build, whose stack frames are many times larger.
pub const INLINE_MAX_DEPTH: usize = if cfg!(debug_assertions) { 8 } else { 24 };
/// The free stack that an inline parse may need, debug build included. Bytes; held by the test
/// `inline_texts_fit_the_stack`.
pub const INLINE_STACK_BYTES: usize = 1 << 20;
/// The stack of the thread that parses deeper texts, bytes (address space, not memory: only
/// touched pages count).
pub const PARSER_STACK_BYTES: usize = 256 << 20;

/// Bounds of an [`Analyzer`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longer texts are not parsed: [`ParseError::TooLong`]. Bytes.
    pub max_sql_bytes: usize,
    /// Deeper trees are refused: [`ParseError::TooDeep`]. Levels of expression or query nesting.
    pub max_depth: usize,
    /// Most texts kept in the cache.
    pub cache_entries: usize,
    /// Most bytes the cache may take, texts and facts (an estimate).
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sql_bytes: DEFAULT_MAX_SQL_BYTES,
            max_depth: DEFAULT_MAX_DEPTH,
            cache_entries: DEFAULT_CACHE_ENTRIES,
            cache_bytes: DEFAULT_CACHE_BYTES,
        }
    }
}

/// The session settings that change how a text is read; take them from ParameterStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lexer {
    /// `standard_conforming_strings`: backslashes in plain `'…'` are ordinary characters.
    pub standard_conforming_strings: bool,
}

impl Default for Lexer {
    fn default() -> Self {
        Self { standard_conforming_strings: true }
    }
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Texts answered from the cache.
    pub hits: u64,
    /// Texts that had to be parsed.
    pub misses: u64,
}

/// Analyses SQL texts and remembers the answers. Share one by `Arc` among all threads.
#[derive(Debug)]
pub struct Analyzer {
    limits: Limits,
    cache: Cache,
    misses: AtomicU64,
    hits: AtomicU64,
}

impl Analyzer {
    /// An analyzer with an empty cache.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cache: Cache::new(limits.cache_entries, limits.cache_bytes),
            misses: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    /// What this text does. Never fails: what can't be analysed has a
    /// [`parse_error`](Analysis::parse_error) and [`Class::Unknown`].
    ///
    /// `sql` is the body of a Query or Parse message without its closing NUL. A miss runs
    /// PostgreSQL's parser on this thread (microseconds), or for trees over
    /// [`INLINE_MAX_DEPTH`] on one made for it, with a stack to match.
    #[must_use]
    pub fn analyze(&self, sql: &[u8], lexer: Lexer) -> Arc<Analysis> {
        if sql.len() > self.limits.max_sql_bytes {
            let max = self.limits.max_sql_bytes;
            return Arc::new(failed(ParseError::TooLong { len: sql.len(), max }));
        }
        if let Some(found) = self.cached(sql, lexer) {
            return found;
        }
        let conforming = is_conforming(sql, lexer);
        self.misses.fetch_add(1, Ordering::Relaxed);
        let analysis = Arc::new(self.parse(sql, conforming));
        if matches!(analysis.parse_error, Some(ParseError::NoThread)) {
            return analysis;
        }
        prescan::with_key(sql, |key| match key {
            Key::Shared(key) if prescan::free_of_values(&analysis) => {
                self.cache.put(key, conforming, Arc::clone(&analysis));
            }
            Key::Shared(_) | Key::Exact => self.cache.put(sql, conforming, Arc::clone(&analysis)),
        });
        analysis
    }

    /// The answer if it is in the cache: well under a microsecond. A hit is counted, a miss is not.
    #[must_use]
    pub fn cached(&self, sql: &[u8], lexer: Lexer) -> Option<Arc<Analysis>> {
        if sql.len() > self.limits.max_sql_bytes {
            return None;
        }
        let conforming = is_conforming(sql, lexer);
        let found = prescan::with_key(sql, |key| match key {
            Key::Shared(key) => {
                self.cache.get(key, conforming).or_else(|| self.cache.get(sql, conforming))
            }
            Key::Exact => self.cache.get(sql, conforming),
        });
        if found.is_some() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Whether [`analyze`](Self::analyze) may run on a thread that others wait for: the text is
    /// short, or too long to be parsed. For others that are not [`cached`](Self::cached), use a
    /// thread for blocking work.
    #[must_use]
    pub fn is_quick(&self, sql: &[u8]) -> bool {
        sql.len() <= QUICK_SQL_BYTES || sql.len() > self.limits.max_sql_bytes
    }

    /// Hits and misses so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    fn parse(&self, sql: &[u8], conforming: bool) -> Analysis {
        if memchr::memchr(0, sql).is_some() {
            return failed(ParseError::Nul);
        }
        let Ok(text) = std::str::from_utf8(sql) else { return failed(ParseError::Encoding) };
        let max_depth = self.limits.max_depth;
        // The scanner has no switch for the other mode; the parser has.
        let tokens = if conforming { parse::scan(text) } else { None };
        let depth = match (&tokens, conforming) {
            (Some(tokens), _) => depth::bound(tokens),
            // What doesn't scan doesn't parse; say so in the parser's words.
            (None, true) => 0,
            (None, false) => max_depth.min(sql.len()),
        };
        if depth > max_depth {
            return failed(ParseError::TooDeep { max: max_depth });
        }
        let run = || parse::analyze(text, conforming, max_depth, tokens).unwrap_or_else(failed);
        if depth <= INLINE_MAX_DEPTH {
            return run();
        }
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new()
                .name("sql-parser".to_owned())
                .stack_size(PARSER_STACK_BYTES);
            match builder.spawn_scoped(scope, run) {
                Ok(handle) => handle.join().unwrap_or_else(|_| failed(ParseError::NoThread)),
                Err(_) => failed(ParseError::NoThread),
            }
        })
    }
}

/// Without a backslash both modes read a text alike (the server refuses `U&''` when off).
fn is_conforming(sql: &[u8], lexer: Lexer) -> bool {
    lexer.standard_conforming_strings || memchr::memchr(b'\\', sql).is_none()
}

/// The answer for a text without facts.
fn failed(error: ParseError) -> types::Analysis {
    Analysis {
        statements: Vec::new(),
        parse_error: Some(error),
        class: Class::Unknown,
        literals: None,
    }
}
