//! What is known of functions by their names, and the settings that need leave.
//!
//! [`DANGEROUS`] functions lift a statement to [`Class::Admin`](crate::Class::Admin). Those that
//! are not known to be [harmless] lift it to [`Class::Write`](crate::Class::Write), for
//! that is what they may do; they may do more, and so may whatever a name without a schema finds
//! on the server. A target with secrets behind functions should restrict roles on the server too;
//! this is a second line.

pub mod harmless;

pub use harmless::{Effect, effect};

/// Functions (by their own name, whatever schema is written) that read or write server files, run
/// hidden SQL, reach other hosts, signal backends, change settings or carry table data around the
/// result columns. Sorted.
pub const DANGEROUS: &[&str] = &[
    "brin_desummarize_range",
    "brin_summarize_new_values",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "lo_creat",
    "lo_create",
    "lo_export",
    "lo_from_bytea",
    "lo_get",
    "lo_import",
    "lo_open",
    "lo_put",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "loread",
    "lowrite",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// Beginnings of names that are dangerous as a family. Sorted.
pub const DANGEROUS_PREFIXES: &[&str] = &[
    "binary_upgrade_",
    "bt_index_",
    "connectby",
    "crosstab",
    "dblink",
    "heap_force_",
    "lo_",
    "pg_advance_",
    "pg_backup_",
    "pg_cancel_",
    "pg_copy_",
    "pg_create_",
    "pg_current_logfile",
    "pg_drop_",
    "pg_execute_server_program",
    "pg_export_",
    "pg_extension_config_dump",
    "pg_file_",
    "pg_get_wal_",
    "pg_import_",
    "pg_log_",
    "pg_logdir_",
    "pg_logical_",
    "pg_ls_",
    "pg_prewarm",
    "pg_promote",
    "pg_read_",
    "pg_reload_",
    "pg_replication_",
    "pg_restore_",
    "pg_rotate_",
    "pg_set_",
    "pg_start_backup",
    "pg_stat_file",
    "pg_stat_get_backend_",
    "pg_stat_reset",
    "pg_stop_backup",
    "pg_surgery",
    "pg_switch_",
    "pg_sync_",
    "pg_terminate_",
    "pg_truncate_visibility_map",
    "pg_wal_",
    "pg_write_",
    "plpgsql_call_handler",
    "plpy",
    "plperl",
    "postgres_fdw_",
];

/// Of [`DANGEROUS`], those that run SQL text given as an argument.
pub(crate) const DYNAMIC: &[&str] = &[
    "crosstab",
    "dblink",
    "dblink_exec",
    "dblink_open",
    "dblink_send_query",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// PostgreSQL's functions that give away a whole row passed as their only argument, so that `t.f`
/// is a call of `f(t)`: those of one polymorphic or record argument in pg_proc that return more
/// than a count or a type. Sorted.
pub(crate) const ROW_FUNCTIONS: &[&str] = &[
    "any_value",
    "array_agg",
    "concat",
    "first_value",
    "hash_record",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "lag",
    "last_value",
    "lead",
    "max",
    "min",
    "mode",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// Settings that SET (or `set_config`) must not change without leave: who acts, what runs, what is
/// logged. Sorted. A setting with a dot (of an extension, such as `pgaudit.log`) is guarded too;
/// `client_encoding` and `standard_conforming_strings` are guarded for values other than UTF8 and
/// on, and `search_path` for those that put another schema before `pg_catalog`: `lower` would be
/// somebody's.
pub const GUARDED_SETTINGS: &[&str] = &[
    "allow_in_place_tablespaces",
    "allow_system_table_mods",
    "backslash_quote",
    "dynamic_library_path",
    "event_triggers",
    "ignore_checksum_failure",
    "ignore_system_indexes",
    "is_superuser",
    "jit_provider",
    "lo_compat_privileges",
    "local_preload_libraries",
    "log_duration",
    "log_min_duration_statement",
    "log_min_error_statement",
    "log_min_messages",
    "log_parameter_max_length",
    "log_statement",
    "role",
    "row_security",
    "session_authorization",
    "session_preload_libraries",
    "session_replication_role",
    "shared_preload_libraries",
    "temp_tablespaces",
    "zero_damaged_pages",
];

/// System tables that hold secrets: reading them is administration. Sorted.
pub const SECRET_TABLES: &[&str] = &[
    "pg_authid",
    "pg_file_settings",
    "pg_foreign_server",
    "pg_hba_file_rules",
    "pg_largeobject",
    "pg_shadow",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_subscription",
    "pg_user_mapping",
    "pg_user_mappings",
];

/// Whether a function's own name is on the list or in a family.
#[must_use]
pub fn is_dangerous(name: &str) -> bool {
    DANGEROUS.binary_search(&name).is_ok()
        || DANGEROUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `t.name` may be a call on the row `t`.
pub(crate) fn is_row_function(name: &str) -> bool {
    ROW_FUNCTIONS.binary_search(&name).is_ok()
}

/// Whether setting `name` (lower case) to `value` (none: its default) needs leave.
#[must_use]
pub fn is_guarded_setting(name: &str, value: Option<&str>) -> bool {
    match (name, value) {
        ("client_encoding" | "names", Some(value)) => {
            !["utf8", "utf-8", "unicode"].iter().any(|ok| value.eq_ignore_ascii_case(ok))
        }
        ("standard_conforming_strings", Some(value)) => {
            !["on", "true", "yes", "1"].iter().any(|ok| value.eq_ignore_ascii_case(ok))
        }
        ("search_path", Some(value)) => hides_the_system(value),
        // The default is the server's, which may be anything.
        ("client_encoding" | "names" | "standard_conforming_strings" | "search_path", None) => {
            false
        }
        // Going back to one's own role, settings and rights gives nothing new.
        ("role" | "session_authorization", None) => false,
        (name, _) => name.contains('.') || GUARDED_SETTINGS.binary_search(&name).is_ok(),
    }
}

/// The value of a setting that is only known when it is set.
pub(crate) const UNKNOWN_VALUE: &str = "?";

/// Whether a search path has `pg_catalog` in it behind another schema; without it, it comes first.
fn hides_the_system(path: &str) -> bool {
    let is_system = |schema: &str| {
        schema.trim().trim_matches(['"', '\'']).trim().eq_ignore_ascii_case("pg_catalog")
    };
    path == UNKNOWN_VALUE || path.split(',').skip(1).any(is_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [DANGEROUS, DYNAMIC, GUARDED_SETTINGS, ROW_FUNCTIONS, SECRET_TABLES] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn families_and_harmless_names() {
        for name in ["pg_read_file", "dblink_exec", "lo_import", "pg_terminate_backend"] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["lower", "count", "pg_get_viewdef", "pg_relation_size", "nextval", "now"] {
            assert!(!is_dangerous(name), "{name}");
        }
    }
}
