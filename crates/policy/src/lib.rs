//! What may be done: rules and verdicts.
