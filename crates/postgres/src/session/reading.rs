//! Reading texts: what is short or known is analysed at once; the rest on a thread for blocking
//! work, while its session waits and the others on this thread go on.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use postgres_grammar::{Analysis, Analyzer, Class, Lexer, ParseError};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// What all sessions of a proxy share to read texts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) analyzer: Arc<Analyzer>,
    /// One for each text that is analysed off the sessions' threads: as many as the machine has
    /// cores. More would be no faster, and each may take hundreds of times its text's length in
    /// memory. Those that wait are served in order.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Readers { analyzer: Arc::new(analyzer), permits: Arc::new(Semaphore::new(cores)) }
    }
}

/// One session's reading. At most one text of a session is analysed at a time.
pub(crate) struct Reading {
    readers: Readers,
    running: Option<Running>,
    /// What was analysed for the message that waits, by each lexer that was asked for.
    done: Vec<Done>,
}

struct Running {
    text: Arc<[u8]>,
    lexer: Lexer,
    task: JoinHandle<Arc<Analysis>>,
}

impl Drop for Running {
    /// A text whose session has ended need not be read any more.
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Done {
    text: Arc<[u8]>,
    lexer: Lexer,
    analysis: Arc<Analysis>,
}

impl Reading {
    pub(crate) fn new(readers: Readers) -> Self {
        Reading { readers, running: None, done: Vec::new() }
    }

    /// A text's analysis, or `None` if it is on its way: then [`Reading::poll`] must be called,
    /// and the same text asked for again when nothing [is running](Self::is_running) any more.
    pub(crate) fn get(&mut self, sql: &[u8], lexer: Lexer) -> Option<Arc<Analysis>> {
        let analyzer = &self.readers.analyzer;
        if analyzer.is_quick(sql) {
            return Some(analyzer.analyze(sql, lexer));
        }
        let same = |done: &&Done| done.lexer == lexer && *done.text == *sql;
        if let Some(done) = self.done.iter().find(same) {
            return Some(done.analysis.clone());
        }
        if let Some(known) = analyzer.cached(sql, lexer) {
            return Some(known);
        }
        if self.running.is_none() {
            let (text, analyzer) = (Arc::<[u8]>::from(sql), analyzer.clone());
            let own = text.clone();
            self.start(text, lexer, move || analyzer.analyze(&own, lexer));
        }
        None
    }

    /// The analysis of a text that says nothing: empty, or not to be parsed.
    pub(crate) fn nothing(&self, sql: &'static [u8]) -> Arc<Analysis> {
        self.readers.analyzer.analyze(sql, Lexer::default())
    }

    fn start(
        &mut self,
        text: Arc<[u8]>,
        lexer: Lexer,
        work: impl FnOnce() -> Arc<Analysis> + Send + 'static,
    ) {
        let permits = self.readers.permits.clone();
        let task = tokio::spawn(async move {
            // Nobody closes the semaphore; were it closed, nothing could be read.
            let Ok(permit) = permits.acquire_owned().await else { return unread() };
            let work = spawn_blocking(move || {
                let analysis = work();
                drop(permit);
                analysis
            });
            work.await.unwrap_or_else(|_| unread())
        });
        self.running = Some(Running { text, lexer, task });
    }

    /// Whether a text is on its way.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Goes on with what is on its way.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        let Some(running) = &mut self.running else { return };
        if let Poll::Ready(analysis) = Pin::new(&mut running.task).poll(cx) {
            let analysis = analysis.unwrap_or_else(|_| unread());
            let (text, lexer) = (running.text.clone(), running.lexer);
            self.done.push(Done { text, lexer, analysis });
            self.running = None;
        }
    }

    /// The message that waited has been taken.
    pub(crate) fn clear(&mut self) {
        self.done.clear();
    }
}

/// Of a text whose analysis failed for our own fault: nothing is known of it.
fn unread() -> Arc<Analysis> {
    Arc::new(Analysis {
        statements: Vec::new(),
        parse_error: Some(ParseError::NoThread),
        class: Class::Unknown,
        literals: None,
    })
}

/// Whether nothing is known of a text for our own fault: no rule may let it through, not even one
/// that allows what can't be parsed.
pub(crate) fn is_unread(analysis: &Analysis) -> bool {
    analysis.parse_error == Some(ParseError::NoThread)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use postgres_grammar::{Limits, QUICK_SQL_BYTES};

    use super::*;

    fn reading() -> Reading {
        Reading::new(Readers::new(Analyzer::new(Limits::default())))
    }

    async fn done(reading: &mut Reading) {
        poll_fn(|cx| {
            reading.poll(cx);
            if reading.is_running() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn long(word: &str) -> Vec<u8> {
        format!("SELECT {}", vec![word; QUICK_SQL_BYTES].join(",")).into_bytes()
    }

    /// Held until another task on the same thread has had its turns, and not one turn earlier.
    #[tokio::test(flavor = "current_thread")]
    async fn others_on_the_thread_go_on() {
        let mut reading = reading();
        let (sql, lexer) = (long("a"), Lexer::default());
        let (go, gone) = mpsc::channel::<()>();
        let analyzer = reading.readers.analyzer.clone();
        let own = sql.clone();
        reading.start(sql.as_slice().into(), lexer, move || {
            let _told = gone.recv();
            analyzer.analyze(&own, lexer)
        });
        assert_eq!(reading.get(&sql, lexer), None);
        let other = tokio::spawn(async move {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            go.send(()).is_ok()
        });
        done(&mut reading).await;
        assert!(other.await.unwrap(), "the analysis did not wait for the other task");
        let analysis = reading.get(&sql, lexer).unwrap();
        assert_eq!((analysis.class, analysis.statements.len()), (Class::Read, 1));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn short_and_known_texts_are_read_at_once() {
        let mut reading = reading();
        let (sql, lexer) = (long("a"), Lexer::default());
        assert_eq!(reading.get(b"SELECT 1", lexer).unwrap().class, Class::Read);
        assert!(reading.get(&sql, lexer).is_none() && reading.is_running());
        // Another text asked for meanwhile starts nothing, and is not taken for the first.
        assert!(reading.get(&long("wipe()"), lexer).is_none());
        done(&mut reading).await;
        assert_eq!(reading.get(&sql, lexer).unwrap().class, Class::Read);
        assert!(reading.get(&long("wipe()"), lexer).is_none());
        done(&mut reading).await;
        assert_eq!(reading.get(&long("wipe()"), lexer).unwrap().class, Class::Write);
        reading.clear();
        // Both are in the cache now.
        assert_eq!(reading.get(&sql, lexer).unwrap().class, Class::Read);
        assert!(!reading.is_running());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_text_whose_reader_dies_is_unread() {
        let mut reading = reading();
        let (sql, lexer) = (long("a"), Lexer::default());
        reading.start(sql.as_slice().into(), lexer, || panic!("for the test"));
        done(&mut reading).await;
        let analysis = reading.get(&sql, lexer).unwrap();
        assert!(is_unread(&analysis) && analysis.class == Class::Unknown);
        // The next one is read again.
        reading.clear();
        assert!(reading.get(&sql, lexer).is_none());
        done(&mut reading).await;
        assert_eq!(reading.get(&sql, lexer).unwrap().class, Class::Read);
    }
}
