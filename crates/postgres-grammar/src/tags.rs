//! From a top-level parse node to PostgreSQL's command tag and the least class it can have.

use pg_query::protobuf::{
    AlterTableType, DiscardMode, ObjectType, RoleStmtType, TransactionStmtKind, VariableSetKind,
};

use crate::tree::Node;
use crate::types::{Class, Transaction};

use Class::{Admin, Ddl, Read, Session, Unknown, Write};

/// The tag and class of a statement node. A node without a row here is [`Class::Unknown`].
pub(crate) fn of(node: &Node) -> (&'static str, Class) {
    match node.name {
        "SelectStmt" => {
            (if node.child("into_clause").is_some() { "SELECT INTO" } else { "SELECT" }, Read)
        }
        "InsertStmt" => ("INSERT", Write),
        "UpdateStmt" => ("UPDATE", Write),
        "DeleteStmt" => ("DELETE", Write),
        "MergeStmt" => ("MERGE", Write),
        "CopyStmt" => ("COPY", if node.flag("is_from") { Write } else { Read }),
        "TransactionStmt" => (transaction(node).map_or("BEGIN", transaction_tag), Session),
        "VariableSetStmt" => (set_tag(node), Session),
        "VariableShowStmt" => ("SHOW", Session),
        "PrepareStmt" => ("PREPARE", Session),
        // What runs is in the PREPARE: until the caller has found it, it could be anything.
        "ExecuteStmt" => ("EXECUTE", Unknown),
        "DeallocateStmt" => {
            (if node.flag("isall") { "DEALLOCATE ALL" } else { "DEALLOCATE" }, Session)
        }
        "DiscardStmt" => (discard_tag(node), Session),
        "DeclareCursorStmt" => ("DECLARE CURSOR", Read),
        "FetchStmt" => (if node.flag("ismove") { "MOVE" } else { "FETCH" }, Session),
        "ClosePortalStmt" => (
            if node.text("portalname").is_empty() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" },
            Session,
        ),
        "ListenStmt" => ("LISTEN", Session),
        "UnlistenStmt" => ("UNLISTEN", Session),
        "NotifyStmt" => ("NOTIFY", Session),
        "ConstraintsSetStmt" => ("SET CONSTRAINTS", Session),
        "LockStmt" => ("LOCK TABLE", Read),
        "ExplainStmt" => ("EXPLAIN", Session),
        "DoStmt" => ("DO", Admin),
        "CallStmt" => ("CALL", Admin),
        "LoadStmt" => ("LOAD", Admin),
        "CheckPointStmt" => ("CHECKPOINT", Admin),
        "AlterSystemStmt" => ("ALTER SYSTEM", Admin),
        _ => schema(node).or_else(|| admin(node)).unwrap_or(("UNKNOWN", Unknown)),
    }
}

/// Statements that change the schema.
fn schema(node: &Node) -> Option<(&'static str, Class)> {
    let plain = match node.name {
        "CreateStmt" => "CREATE TABLE",
        "CreateTableAsStmt" => create_as_tag(node),
        "CreateSchemaStmt" => "CREATE SCHEMA",
        "CreateSeqStmt" => "CREATE SEQUENCE",
        "AlterSeqStmt" => "ALTER SEQUENCE",
        "CreateDomainStmt" => "CREATE DOMAIN",
        "AlterDomainStmt" => "ALTER DOMAIN",
        "CompositeTypeStmt" | "CreateEnumStmt" | "CreateRangeStmt" => "CREATE TYPE",
        "AlterEnumStmt" | "AlterTypeStmt" => "ALTER TYPE",
        "IndexStmt" => "CREATE INDEX",
        "ViewStmt" => "CREATE VIEW",
        "RefreshMatViewStmt" => "REFRESH MATERIALIZED VIEW",
        "CreateStatsStmt" => "CREATE STATISTICS",
        "AlterStatsStmt" => "ALTER STATISTICS",
        "AlterCollationStmt" => "ALTER COLLATION",
        "CreateConversionStmt" => "CREATE CONVERSION",
        "AlterTsdictionaryStmt" => "ALTER TEXT SEARCH DICTIONARY",
        "AlterTsconfigurationStmt" => "ALTER TEXT SEARCH CONFIGURATION",
        "TruncateStmt" => "TRUNCATE TABLE",
        "CommentStmt" => "COMMENT",
        "ReindexStmt" => "REINDEX",
        "ClusterStmt" => "CLUSTER",
        "VacuumStmt" => {
            if node.flag("is_vacuumcmd") {
                "VACUUM"
            } else {
                "ANALYZE"
            }
        }
        "CreateTrigStmt" => "CREATE TRIGGER",
        "RuleStmt" => "CREATE RULE",
        "CreateFunctionStmt" => return Some(create_function(node)),
        "AlterFunctionStmt" => return Some((alter_tag(object(node, "objtype")), Ddl)),
        "DefineStmt" => return Some((create_tag(object(node, "kind")), Ddl)),
        "DropStmt" => return Some(drop_of(object(node, "remove_type"))),
        "RenameStmt" => return Some(alter_of(object(node, "rename_type"), node)),
        "AlterObjectSchemaStmt" | "AlterObjectDependsStmt" => {
            return Some(alter_of(object(node, "object_type"), node));
        }
        "AlterTableStmt" => return Some(alter_table(node)),
        _ => return None,
    };
    Some((plain, Ddl))
}

/// Statements about who may do what, other databases, other hosts, and code.
fn admin(node: &Node) -> Option<(&'static str, Class)> {
    let tag = match node.name {
        "GrantStmt" => {
            if node.flag("is_grant") {
                "GRANT"
            } else {
                "REVOKE"
            }
        }
        "GrantRoleStmt" => {
            if node.flag("is_grant") {
                "GRANT ROLE"
            } else {
                "REVOKE ROLE"
            }
        }
        "AlterDefaultPrivilegesStmt" => "ALTER DEFAULT PRIVILEGES",
        "CreateRoleStmt" => {
            let kind = node.int("stmt_type");
            let group = i64::from(RoleStmtType::RolestmtGroup as i32);
            let user = i64::from(RoleStmtType::RolestmtUser as i32);
            if kind == user {
                "CREATE USER"
            } else if kind == group {
                "CREATE GROUP"
            } else {
                "CREATE ROLE"
            }
        }
        "AlterRoleStmt" | "AlterRoleSetStmt" => "ALTER ROLE",
        "DropRoleStmt" => "DROP ROLE",
        "DropOwnedStmt" => "DROP OWNED",
        "ReassignOwnedStmt" => "REASSIGN OWNED",
        "AlterOwnerStmt" => alter_tag(object(node, "object_type")),
        "SecLabelStmt" => "SECURITY LABEL",
        "CreatePolicyStmt" => "CREATE POLICY",
        "AlterPolicyStmt" => "ALTER POLICY",
        "CreatedbStmt" => "CREATE DATABASE",
        "AlterDatabaseStmt" | "AlterDatabaseSetStmt" | "AlterDatabaseRefreshCollStmt" => {
            "ALTER DATABASE"
        }
        "DropdbStmt" => "DROP DATABASE",
        "CreateTableSpaceStmt" => "CREATE TABLESPACE",
        "DropTableSpaceStmt" => "DROP TABLESPACE",
        "AlterTableSpaceOptionsStmt" => "ALTER TABLESPACE",
        "AlterTableMoveAllStmt" => alter_tag(object(node, "objtype")),
        "CreateExtensionStmt" => "CREATE EXTENSION",
        "AlterExtensionStmt" | "AlterExtensionContentsStmt" => "ALTER EXTENSION",
        "CreateFdwStmt" => "CREATE FOREIGN DATA WRAPPER",
        "AlterFdwStmt" => "ALTER FOREIGN DATA WRAPPER",
        "CreateForeignServerStmt" => "CREATE SERVER",
        "AlterForeignServerStmt" => "ALTER SERVER",
        "CreateForeignTableStmt" => "CREATE FOREIGN TABLE",
        "CreateUserMappingStmt" => "CREATE USER MAPPING",
        "AlterUserMappingStmt" => "ALTER USER MAPPING",
        "DropUserMappingStmt" => "DROP USER MAPPING",
        "ImportForeignSchemaStmt" => "IMPORT FOREIGN SCHEMA",
        "CreateAmStmt" => "CREATE ACCESS METHOD",
        "CreateEventTrigStmt" => "CREATE EVENT TRIGGER",
        "AlterEventTrigStmt" => "ALTER EVENT TRIGGER",
        "CreatePlangStmt" => "CREATE LANGUAGE",
        "CreateCastStmt" => "CREATE CAST",
        "CreateTransformStmt" => "CREATE TRANSFORM",
        "CreateOpClassStmt" => "CREATE OPERATOR CLASS",
        "CreateOpFamilyStmt" => "CREATE OPERATOR FAMILY",
        "AlterOpFamilyStmt" => "ALTER OPERATOR FAMILY",
        "AlterOperatorStmt" => "ALTER OPERATOR",
        "CreatePublicationStmt" => "CREATE PUBLICATION",
        "AlterPublicationStmt" => "ALTER PUBLICATION",
        "CreateSubscriptionStmt" => "CREATE SUBSCRIPTION",
        "AlterSubscriptionStmt" => "ALTER SUBSCRIPTION",
        "DropSubscriptionStmt" => "DROP SUBSCRIPTION",
        _ => return None,
    };
    Some((tag, Admin))
}

fn create_as_tag(node: &Node) -> &'static str {
    match object(node, "objtype") {
        ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW",
        _ if node.flag("is_select_into") => "SELECT INTO",
        _ => "CREATE TABLE AS",
    }
}

/// Functions in a language that reaches outside the database are administration.
fn create_function(node: &Node) -> (&'static str, Class) {
    let procedure = node.flag("is_procedure");
    let language = node
        .list("options")
        .find(|option| option.text("defname") == "language")
        .map(|option| crate::collect::words(option.get("arg")).concat());
    // No LANGUAGE: a SQL body.
    let known = language.is_none_or(|name| matches!(name.as_str(), "sql" | "plpgsql"));
    let tag = if procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" };
    (tag, if known { Ddl } else { Admin })
}

fn alter_table(node: &Node) -> (&'static str, Class) {
    let guarded = [
        AlterTableType::AtChangeOwner,
        AlterTableType::AtEnableRowSecurity,
        AlterTableType::AtDisableRowSecurity,
        AlterTableType::AtForceRowSecurity,
        AlterTableType::AtNoForceRowSecurity,
        AlterTableType::AtDisableTrig,
        AlterTableType::AtDisableTrigAll,
        AlterTableType::AtDisableTrigUser,
        AlterTableType::AtDisableRule,
        AlterTableType::AtEnableReplicaTrig,
        AlterTableType::AtEnableReplicaRule,
    ]
    .map(|kind| i64::from(kind as i32));
    let admin = node.list("cmds").any(|cmd| guarded.contains(&cmd.int("subtype")));
    let (tag, class) = alter_of(object(node, "objtype"), node);
    (tag, if admin { Admin } else { class })
}

pub(crate) fn object(node: &Node, field: &str) -> ObjectType {
    i32::try_from(node.int(field))
        .ok()
        .and_then(|value| ObjectType::try_from(value).ok())
        .unwrap_or(ObjectType::Undefined)
}

/// Objects whose CREATE, ALTER and DROP are administration.
fn guarded(object: ObjectType) -> bool {
    use ObjectType as O;
    matches!(
        object,
        O::ObjectAccessMethod
            | O::ObjectDatabase
            | O::ObjectDefacl
            | O::ObjectEventTrigger
            | O::ObjectExtension
            | O::ObjectFdw
            | O::ObjectForeignServer
            | O::ObjectForeignTable
            | O::ObjectLanguage
            | O::ObjectParameterAcl
            | O::ObjectPolicy
            | O::ObjectPublication
            | O::ObjectPublicationNamespace
            | O::ObjectPublicationRel
            | O::ObjectRole
            | O::ObjectSubscription
            | O::ObjectTablespace
            | O::ObjectTransform
            | O::ObjectUserMapping
            | O::Undefined
    )
}

fn drop_of(object: ObjectType) -> (&'static str, Class) {
    (drop_tag(object), if guarded(object) { Admin } else { Ddl })
}

fn alter_of(kind: ObjectType, node: &Node) -> (&'static str, Class) {
    // A column, constraint or attribute is of a table, view or type: its kind says the tag.
    let tag = match kind {
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => {
            alter_tag(object(node, "relation_type"))
        }
        kind => alter_tag(kind),
    };
    (tag, if guarded(kind) { Admin } else { Ddl })
}

/// One verb's tag for each kind of object that PostgreSQL has a tag for.
macro_rules! tags {
    ($name:ident, $verb:literal) => {
        fn $name(object: ObjectType) -> &'static str {
            use ObjectType as O;
            match object {
                O::ObjectAccessMethod => concat!($verb, " ACCESS METHOD"),
                O::ObjectAggregate => concat!($verb, " AGGREGATE"),
                O::ObjectCast => concat!($verb, " CAST"),
                O::ObjectCollation => concat!($verb, " COLLATION"),
                O::ObjectConversion => concat!($verb, " CONVERSION"),
                O::ObjectDatabase => concat!($verb, " DATABASE"),
                O::ObjectDomain | O::ObjectDomconstraint => concat!($verb, " DOMAIN"),
                O::ObjectEventTrigger => concat!($verb, " EVENT TRIGGER"),
                O::ObjectExtension => concat!($verb, " EXTENSION"),
                O::ObjectFdw => concat!($verb, " FOREIGN DATA WRAPPER"),
                O::ObjectForeignServer => concat!($verb, " SERVER"),
                O::ObjectForeignTable => concat!($verb, " FOREIGN TABLE"),
                O::ObjectFunction => concat!($verb, " FUNCTION"),
                O::ObjectIndex => concat!($verb, " INDEX"),
                O::ObjectLanguage => concat!($verb, " LANGUAGE"),
                O::ObjectLargeobject => concat!($verb, " LARGE OBJECT"),
                O::ObjectMatview => concat!($verb, " MATERIALIZED VIEW"),
                O::ObjectOpclass => concat!($verb, " OPERATOR CLASS"),
                O::ObjectOperator => concat!($verb, " OPERATOR"),
                O::ObjectOpfamily => concat!($verb, " OPERATOR FAMILY"),
                O::ObjectPolicy => concat!($verb, " POLICY"),
                O::ObjectProcedure => concat!($verb, " PROCEDURE"),
                O::ObjectPublication => concat!($verb, " PUBLICATION"),
                O::ObjectRole => concat!($verb, " ROLE"),
                O::ObjectRoutine => concat!($verb, " ROUTINE"),
                O::ObjectRule => concat!($verb, " RULE"),
                O::ObjectSchema => concat!($verb, " SCHEMA"),
                O::ObjectSequence => concat!($verb, " SEQUENCE"),
                O::ObjectStatisticExt => concat!($verb, " STATISTICS"),
                O::ObjectSubscription => concat!($verb, " SUBSCRIPTION"),
                O::ObjectTable | O::ObjectTabconstraint | O::ObjectColumn => {
                    concat!($verb, " TABLE")
                }
                O::ObjectTablespace => concat!($verb, " TABLESPACE"),
                O::ObjectTransform => concat!($verb, " TRANSFORM"),
                O::ObjectTrigger => concat!($verb, " TRIGGER"),
                O::ObjectTsconfiguration => concat!($verb, " TEXT SEARCH CONFIGURATION"),
                O::ObjectTsdictionary => concat!($verb, " TEXT SEARCH DICTIONARY"),
                O::ObjectTsparser => concat!($verb, " TEXT SEARCH PARSER"),
                O::ObjectTstemplate => concat!($verb, " TEXT SEARCH TEMPLATE"),
                O::ObjectType | O::ObjectAttribute => concat!($verb, " TYPE"),
                O::ObjectUserMapping => concat!($verb, " USER MAPPING"),
                O::ObjectView => concat!($verb, " VIEW"),
                _ => $verb,
            }
        }
    };
}

tags!(create_tag, "CREATE");
tags!(alter_tag, "ALTER");
tags!(drop_tag, "DROP");

fn set_tag(node: &Node) -> &'static str {
    let kind = node.int("kind");
    let reset = [VariableSetKind::VarReset, VariableSetKind::VarResetAll];
    if reset.map(|kind| i64::from(kind as i32)).contains(&kind) { "RESET" } else { "SET" }
}

fn discard_tag(node: &Node) -> &'static str {
    let mode = i32::try_from(node.int("target")).ok().and_then(|it| DiscardMode::try_from(it).ok());
    match mode {
        Some(DiscardMode::DiscardPlans) => "DISCARD PLANS",
        Some(DiscardMode::DiscardSequences) => "DISCARD SEQUENCES",
        Some(DiscardMode::DiscardTemp) => "DISCARD TEMP",
        _ => "DISCARD ALL",
    }
}

/// The kind of transaction control.
pub(crate) fn transaction(node: &Node) -> Option<Transaction> {
    use TransactionStmtKind as K;
    let kind = i32::try_from(node.int("kind")).ok().and_then(|it| K::try_from(it).ok())?;
    Some(match kind {
        K::TransStmtBegin => Transaction::Begin,
        K::TransStmtStart => Transaction::Start,
        K::TransStmtCommit => Transaction::Commit,
        K::TransStmtRollback => Transaction::Rollback,
        K::TransStmtSavepoint => Transaction::Savepoint,
        K::TransStmtRelease => Transaction::Release,
        K::TransStmtRollbackTo => Transaction::RollbackTo,
        K::TransStmtPrepare => Transaction::Prepare,
        K::TransStmtCommitPrepared => Transaction::CommitPrepared,
        K::TransStmtRollbackPrepared => Transaction::RollbackPrepared,
        K::Undefined => return None,
    })
}

fn transaction_tag(kind: Transaction) -> &'static str {
    match kind {
        Transaction::Begin => "BEGIN",
        Transaction::Start => "START TRANSACTION",
        Transaction::Commit => "COMMIT",
        Transaction::Rollback | Transaction::RollbackTo => "ROLLBACK",
        Transaction::Savepoint => "SAVEPOINT",
        Transaction::Release => "RELEASE",
        Transaction::Prepare => "PREPARE TRANSACTION",
        Transaction::CommitPrepared => "COMMIT PREPARED",
        Transaction::RollbackPrepared => "ROLLBACK PREPARED",
    }
}
