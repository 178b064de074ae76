//! The one way through: authenticate, open a session, admit a command, record the exchange.
