//! What a SQL statement does, by PostgreSQL's own grammar.
