//! Corpora, made from a fixed seed.

/// xorshift64*: good enough to make text, and the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap())).collect()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const WORDS: &[&str] = &[
    "the",
    "of",
    "and",
    "a",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "with",
    "as",
    "his",
    "they",
    "be",
    "at",
    "one",
    "have",
    "this",
    "from",
    "or",
    "had",
    "by",
    "but",
    "some",
    "what",
    "there",
    "we",
    "can",
    "out",
    "other",
    "were",
    "all",
    "your",
    "when",
    "up",
    "use",
    "word",
    "how",
    "said",
    "an",
    "each",
    "she",
    "which",
    "do",
    "their",
    "time",
    "if",
    "will",
    "way",
    "about",
    "many",
    "then",
    "them",
    "would",
    "write",
    "like",
    "so",
    "these",
    "her",
    "long",
    "make",
    "thing",
    "see",
    "him",
    "two",
    "has",
    "look",
    "more",
    "day",
    "could",
    "go",
    "come",
    "did",
    "my",
    "sound",
    "no",
    "most",
    "number",
    "who",
    "over",
    "know",
    "water",
    "than",
    "call",
    "first",
    "people",
    "may",
    "down",
    "side",
    "been",
    "now",
    "find",
    "configuration",
    "deployment",
    "transaction",
    "response",
    "database",
    "connection",
    "authentication",
    "understanding",
    "`code`",
    "**bold**",
    "[link](https://example.org/path)",
    "e.g.",
    "i.e.",
    "(see",
    "below)",
    "non-trivial",
    "v1.2.3",
];

/// A Luhn-valid 16-digit card.
fn card(rng: &mut Rng) -> String {
    let body = format!("4{}", rng.digits(14));
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let d = u32::from(b - b'0') * if i % 2 == 0 { 2 } else { 1 };
            if d > 9 { d - 9 } else { d }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn iban(rng: &mut Rng) -> String {
    let bban = rng.digits(18);
    let rest =
        format!("{bban}131400").bytes().fold(0u32, |r, b| (r * 10 + u32::from(b - b'0')) % 97);
    format!("DE{:02}{bban}", 98 - rest)
}

/// One sensitive value.
pub(crate) fn pii(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => card(rng),
        1 => {
            let c = card(rng);
            format!("{} {} {} {}", &c[..4], &c[4..8], &c[8..12], &c[12..])
        }
        2 => iban(rng),
        3 => format!("{}{}@example.com", rng.pick(&["jane.doe", "max", "info"]), rng.digits(2)),
        4 => format!("+49 30 {}", rng.digits(7)),
        5 => format!("{}-{}-{}", 100 + rng.below(500), 10 + rng.below(80), 1000 + rng.below(9000)),
        6 => format!("10.{}.{}.{}", rng.below(256), rng.below(256), rng.below(256)),
        _ => format!(
            "AKIA{}",
            (0..16).map(|_| rng.pick(&["Q", "7", "X", "2", "M"])).collect::<String>()
        ),
    }
}

/// Prose in Markdown with tables of comma separated values, 0.1 % of the
/// tokens sensitive.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let mut rng = Rng::new(42);
    let mut out = String::with_capacity(size + 256);
    let mut line = 0;
    while out.len() < size {
        if rng.below(1000) == 0 {
            out.push_str(&pii(&mut rng));
        } else if line % 4 == 3 {
            match rng.below(4) {
                0 => out.push_str(&rng.below(100_000).to_string()),
                1 => {
                    out.push_str(&format!("2024-{:02}-{:02}", 1 + rng.below(12), 1 + rng.below(28)))
                }
                2 => out.push_str(&format!("{}.{}", rng.below(10_000), 10 + rng.below(90))),
                _ => out.push_str(rng.pick(WORDS)),
            }
        } else {
            out.push_str(rng.pick(WORDS));
        }
        if rng.below(14) == 0 {
            out.push_str(if line % 4 == 3 { "\n" } else { ".\n" });
            line += 1;
        } else {
            out.push(if line % 4 == 3 { ',' } else { ' ' });
        }
    }
    out.into_bytes()
}

/// PostgreSQL DataRow messages: 10 columns, 0.1 % of the cells sensitive. The
/// ranges are the cells.
pub(crate) fn rows(size: usize) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut rng = Rng::new(43);
    let mut out = Vec::with_capacity(size + 1024);
    let mut cells = Vec::new();
    while out.len() < size {
        let row: Vec<String> = (0..10).map(|i| cell(&mut rng, i)).collect();
        let length = 4 + 2 + row.iter().map(|c| 4 + c.len()).sum::<usize>();
        out.push(b'D');
        out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        out.extend_from_slice(&10u16.to_be_bytes());
        for c in row {
            out.extend_from_slice(&u32::try_from(c.len()).unwrap().to_be_bytes());
            cells.push((out.len(), out.len() + c.len()));
            out.extend_from_slice(c.as_bytes());
        }
    }
    (out, cells)
}

fn cell(rng: &mut Rng, column: u32) -> String {
    if rng.below(1000) == 0 {
        return pii(rng);
    }
    match column {
        0 => rng.below(100_000_000).to_string(),
        1 => rng.below(10_000_000_000).to_string(),
        2 => format!(
            "2024-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00",
            1 + rng.below(12),
            1 + rng.below(28),
            rng.below(24),
            rng.below(60),
            rng.below(60),
            rng.below(1_000_000)
        ),
        3 => format!("{}.{:02}", rng.below(100_000), rng.below(100)),
        4 => rng.below(1000).to_string(),
        5 | 6 => format!("{}", rng.below(1 << 40) as f64 / 1e7),
        7 => {
            let (a, b) = (rng.next(), rng.next());
            let h = format!("{a:016x}{b:016x}");
            format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
        }
        _ => (0..2 + rng.below(8)).map(|_| rng.pick(WORDS)).collect::<Vec<_>>().join(" "),
    }
}

/// JSON log lines of a cluster.
pub(crate) fn json(size: usize) -> Vec<u8> {
    let mut rng = Rng::new(44);
    let mut out = String::with_capacity(size + 512);
    while out.len() < size {
        let hurt = if rng.below(30) == 0 { pii(&mut rng) } else { rng.pick(WORDS).to_owned() };
        out.push_str(&format!(
            "{{\"ts\":\"2024-05-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"level\":\"info\",\"logger\":\"controller.{}\",\"msg\":\"reconciled {} {} {}\",\"pod\":\"{}-{:x}-{:x}\",\"attempt\":{},\"latency_ms\":{}.{}}}\n",
            1 + rng.below(28), rng.below(24), rng.below(60), rng.below(60), rng.below(1000),
            rng.pick(WORDS), rng.pick(WORDS), hurt, rng.pick(WORDS), rng.pick(WORDS),
            rng.below(1 << 36), rng.below(1 << 20), rng.below(9), rng.below(500), rng.below(1000),
        ));
    }
    out.into_bytes()
}
