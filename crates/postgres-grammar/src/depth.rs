//! How deep a text's tree can get, from its tokens alone: an upper bound, before the parser runs.
//!
//! Parentheses, brackets and CASE … END open a level. Inside a level every operator and keyword may
//! add one (`NOT NOT a`, `1+1+1`), until a comma, AND or OR starts afresh: nothing that binds
//! tighter reaches across those. Set operations and joins do reach across, so they are counted for
//! the whole level.

use pg_query::protobuf::{ScanToken, Token};

#[derive(Default, Clone, Copy)]
struct Level {
    /// Operators since the last comma, AND or OR, and the deepest level among them.
    chain: usize,
    below: usize,
    /// The deepest chain before that.
    best: usize,
    /// Set operations and joins.
    across: usize,
}

impl Level {
    fn cut(&mut self) {
        self.best = self.best.max(self.chain + self.below);
        self.chain = 0;
        self.below = 0;
    }

    fn depth(mut self) -> usize {
        self.cut();
        self.best + self.across + 1
    }
}

/// The bound, in levels.
pub(crate) fn bound(tokens: &[ScanToken]) -> usize {
    let mut levels: Vec<Level> = Vec::new();
    let mut here = Level::default();
    let mut worst = 0;
    for token in tokens {
        let Ok(kind) = Token::try_from(token.token) else { continue };
        match kind {
            Token::Ascii40 | Token::Ascii91 | Token::Case => {
                levels.push(here);
                here = Level::default();
            }
            Token::Ascii41 | Token::Ascii93 | Token::EndP => {
                if let Some(mut above) = levels.pop() {
                    above.below = above.below.max(here.depth());
                    here = above;
                } else {
                    here.cut();
                }
            }
            Token::Ascii44 | Token::And | Token::Or => here.cut(),
            // A semicolon in a BEGIN ATOMIC body is at its top too.
            Token::Ascii59 => {
                worst = worst.max(here.depth());
                here = Level::default();
            }
            Token::Union | Token::Intersect | Token::Except | Token::Join => here.across += 1,
            Token::Ident
            | Token::Uident
            | Token::Fconst
            | Token::Sconst
            | Token::Usconst
            | Token::Bconst
            | Token::Xconst
            | Token::Iconst
            | Token::Param
            | Token::Ascii46
            | Token::SqlComment
            | Token::CComment => {}
            _ => here.chain += 1,
        }
    }
    while let Some(mut above) = levels.pop() {
        above.below = above.below.max(here.depth());
        here = above;
    }
    worst.max(here.depth())
}
