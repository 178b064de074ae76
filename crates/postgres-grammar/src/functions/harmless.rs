//! PostgreSQL's own functions and operators that change nothing: what a statement may call and
//! still be a read.
//!
//! Three lists. `harmless.txt` is made by a query on a server (`harmless.sql`, which says how):
//! every function of the system's none of whose forms is VOLATILE. [`VOLATILE`] and `LATER` are
//! kept by hand. What is in none of them may write: functions of users and extensions, and the
//! system's own that do (`nextval`, `setval`, `pg_notify`, advisory locks, …).

use std::sync::LazyLock;

/// The names of `harmless.txt`, sorted.
static STABLE: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("harmless.txt").lines().collect());

/// VOLATILE functions that change nothing that another session sees, nor a row. Some say what time
/// it is, what the server is doing, or how large things are; `setseed` and
/// `pg_stat_clear_snapshot` change what the session itself is told. Sorted.
///
/// Not here, on purpose: advisory locks, `pg_notify` and `pg_export_snapshot`, which other
/// sessions see; `lo_*`, whose harmless forms are no use without the others.
pub const VOLATILE: &[&str] = &[
    "clock_timestamp",
    "current_query",
    "currval",
    "gen_random_uuid",
    "lastval",
    "pg_blocking_pids",
    "pg_collation_actual_version",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_collation_actual_version",
    "pg_database_size",
    "pg_get_multixact_members",
    "pg_get_sequence_data",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_isolation_test_session_is_blocked",
    "pg_jit_available",
    "pg_last_committed_xact",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_notification_queue_usage",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_prepared_xact",
    "pg_relation_size",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_show_replication_origin_status",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_stat_clear_snapshot",
    "pg_stat_get_recovery_prefetch",
    "pg_stat_get_xact_blocks_fetched",
    "pg_stat_get_xact_blocks_hit",
    "pg_stat_get_xact_function_calls",
    "pg_stat_get_xact_function_self_time",
    "pg_stat_get_xact_function_total_time",
    "pg_stat_get_xact_numscans",
    "pg_stat_get_xact_tuples_deleted",
    "pg_stat_get_xact_tuples_fetched",
    "pg_stat_get_xact_tuples_hot_updated",
    "pg_stat_get_xact_tuples_inserted",
    "pg_stat_get_xact_tuples_newpage_updated",
    "pg_stat_get_xact_tuples_returned",
    "pg_stat_get_xact_tuples_updated",
    "pg_stat_have_stats",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_commit_timestamp",
    "pg_xact_commit_timestamp_origin",
    "pg_xact_status",
    "random",
    "random_normal",
    "setseed",
    "timeofday",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// Functions that PostgreSQL 16, 17 and 18 added, not VOLATILE, by their release notes. Sorted.
const LATER: &[&str] = &[
    "any_value",
    "array_reverse",
    "array_sample",
    "array_shuffle",
    "array_sort",
    "casefold",
    "crc32",
    "crc32c",
    "date_add",
    "date_subtract",
    "erf",
    "erfc",
    "gamma",
    "has_largeobject_privilege",
    "icu_unicode_version",
    "json_agg_strict",
    "json_array",
    "json_arrayagg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_agg_strict",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "lgamma",
    "pg_basetype",
    "pg_column_toast_chunk_id",
    "pg_get_acl",
    "pg_input_error_info",
    "pg_input_is_valid",
    "pg_split_walfile_name",
    "system_user",
    "to_bin",
    "to_oct",
    "to_regtypemod",
    "unicode_assigned",
    "unicode_version",
    "uuid_extract_timestamp",
    "uuid_extract_version",
    "xmltext",
];

/// The operators of pg_catalog (`SELECT DISTINCT oprname FROM pg_operator`, 15 to 18), none of
/// which is VOLATILE, and what the parser gives BETWEEN for a name. Sorted.
const OPERATORS: &[&str] = &[
    "!!",
    "!~",
    "!~*",
    "!~~",
    "!~~*",
    "#",
    "##",
    "#-",
    "#>",
    "#>>",
    "%",
    "&",
    "&&",
    "&<",
    "&<|",
    "&>",
    "*",
    "*<",
    "*<=",
    "*<>",
    "*=",
    "*>",
    "*>=",
    "+",
    "-",
    "->",
    "->>",
    "-|-",
    "/",
    "<",
    "<->",
    "<<",
    "<<=",
    "<<|",
    "<=",
    "<>",
    "<@",
    "<^",
    "=",
    ">",
    ">=",
    ">>",
    ">>=",
    ">^",
    "?",
    "?#",
    "?&",
    "?-",
    "?-|",
    "?|",
    "?||",
    "@",
    "@-@",
    "@>",
    "@?",
    "@@",
    "@@@",
    "BETWEEN",
    "BETWEEN SYMMETRIC",
    "NOT BETWEEN",
    "NOT BETWEEN SYMMETRIC",
    "^",
    "^@",
    "|",
    "|&>",
    "|/",
    "|>>",
    "||",
    "||/",
    "~",
    "~*",
    "~<=~",
    "~<~",
    "~=",
    "~>=~",
    "~>~",
    "~~",
    "~~*",
];

/// What the names of a call, schema first, tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// One of the system's functions that change nothing.
    Harmless,
    /// Anything that isn't listed: it may write.
    Unlisted,
    /// On the [dangerous list](super::is_dangerous), in whatever schema.
    Dangerous,
}

/// What a function does, by its names as parsed, schema first: `["lower"]`,
/// `["pg_catalog", "lower"]`. A name without a schema counts as the system's, which a function of
/// a user's may have too.
#[must_use]
pub fn effect(names: &[&str]) -> Effect {
    let Some(own) = names.last() else { return Effect::Unlisted };
    if super::is_dangerous(own) {
        return Effect::Dangerous;
    }
    let known = match names {
        [name] | ["pg_catalog", name] => {
            let listed = |list: &[&str]| list.binary_search(name).is_ok();
            !name.contains('.') && (listed(&STABLE) || listed(VOLATILE) || listed(LATER))
        }
        ["information_schema", name] => {
            STABLE.binary_search(&format!("information_schema.{name}").as_str()).is_ok()
        }
        _ => false,
    };
    if known { Effect::Harmless } else { Effect::Unlisted }
}

/// Whether an operator, by its names as parsed, is one of the system's, or has the symbol of one.
pub(crate) fn is_system_operator(names: &[&str]) -> bool {
    match names {
        [symbol] | ["pg_catalog", symbol] => OPERATORS.binary_search(symbol).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(STABLE.len() > 1900);
        for list in [&STABLE[..], VOLATILE, LATER, OPERATORS] {
            assert!(list.is_sorted());
        }
        for name in VOLATILE.iter().chain(LATER) {
            assert!(STABLE.binary_search(name).is_err(), "{name} is in two lists");
            assert_eq!(effect(&[name]), Effect::Harmless, "{name} is dangerous too");
        }
    }

    #[test]
    fn names_and_schemas() {
        for names in [
            &["now"][..],
            &["pg_catalog", "now"],
            &["count"],
            &["generate_series"],
            &["information_schema", "_pg_expandarray"],
        ] {
            assert_eq!(effect(names), Effect::Harmless, "{names:?}");
        }
        for names in [
            &["wipe"][..],
            &["nextval"],
            &["pg_catalog", "setval"],
            &["public", "now"],
            &["pg_temp", "lower"],
            &["db", "pg_catalog", "now"],
            &["information_schema._pg_expandarray"],
            &["pg_catalog.now"],
            &["_pg_expandarray"],
            &["information_schema", "now"],
            &["pg_advisory_lock"],
            &[],
        ] {
            assert_eq!(effect(names), Effect::Unlisted, "{names:?}");
        }
        assert_eq!(effect(&["public", "dblink_exec"]), Effect::Dangerous);
        assert_eq!(effect(&["pg_read_file"]), Effect::Dangerous);
        assert!(is_system_operator(&["pg_catalog", "+"]) && !is_system_operator(&["app", "+"]));
        assert!(!is_system_operator(&["###"]));
    }
}
