-- Makes harmless.txt, in any database of a PostgreSQL server:
--   psql -XAtq -f harmless.sql > harmless.txt
--
-- One name a line, sorted by bytes: every function of pg_catalog, and of information_schema with
-- its schema, none of whose forms is VOLATILE. PostgreSQL's own functions that change anything are
-- VOLATILE. Left out: what SQL can't call (an `internal` argument, a trigger's or handler's
-- result), validators of function bodies, for one loads a library, and what belongs to event
-- triggers.
--
-- The list that is checked in was made on PostgreSQL 15.18. What later versions have added is in
-- harmless.rs, by hand, and so are the VOLATILE functions that change nothing.
SELECT CASE WHEN pronamespace = 'pg_catalog'::regnamespace THEN '' ELSE 'information_schema.' END
       || proname
  FROM pg_proc
 WHERE pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
   AND prokind <> 'p'
   AND oid < 16384
   AND NOT 'internal'::regtype = ANY (proargtypes::oid[])
   AND prorettype NOT IN (SELECT oid FROM pg_type
                           WHERE typname IN ('internal', 'trigger', 'event_trigger')
                              OR typname LIKE '%\_handler')
   AND proname NOT LIKE 'fmgr\_%\_validator'
   AND proname NOT LIKE 'pg\_event\_trigger\_%'
 GROUP BY pronamespace, proname
HAVING bool_and(provolatile <> 'v')
 ORDER BY (CASE WHEN pronamespace = 'pg_catalog'::regnamespace THEN '' ELSE 'information_schema.' END
       || proname) COLLATE "C";
