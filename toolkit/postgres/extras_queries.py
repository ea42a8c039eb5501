"""The catalogue queries behind ``toolkit.postgres.extras``: one for each kind of object.

Each returns rows of the same form (:data:`COLUMNS`) for the schemas ``%(schemas)s`` (numbers), with
an empty search path, so that PostgreSQL qualifies every name that it prints. Nothing that belongs
to an extension is among them. They read from PostgreSQL 13 on; what only some versions have is
taken from ``to_jsonb(row)``, which holds the columns that there are.
"""

from __future__ import annotations

#: The columns of each query, in order.
COLUMNS = (
    "class_id",
    "number",
    "kind",
    "schema",
    "name",
    "arguments",
    "table_schema",
    "table",
    "state",
    "definition",
    "address",
    "left",
)


def _of_no_extension(catalogue: str, number: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalogue}'::regclass "
        f"AND e.objid = {number} AND e.deptype = 'e')"
    )


def _full(name: str, schema: str = "n") -> str:
    return f"quote_ident({schema}.nspname) || '.' || quote_ident({name})"


#: Why an object that belongs to a relation is not carried; NULL if it is.
_NOT_A_TABLE = """
  CASE WHEN c.relispartition THEN 'it is on a partition: the partitions of the source are one table'
       WHEN c.relkind = 'f' THEN 'it is on a foreign table'
       WHEN EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                    AND e.objid = c.oid AND e.deptype = 'e')
         THEN 'it is on a table of an extension' END
"""

EXTENSIONS = """
SELECT 'pg_extension'::regclass::oid, x.oid, 'extension', NULL, x.extname, NULL, NULL, NULL, NULL,
       CASE WHEN n.nspname IN ('pg_catalog', 'public') THEN ''
            ELSE 'CREATE SCHEMA IF NOT EXISTS ' || quote_ident(n.nspname) || E';\n' END
       || 'CREATE EXTENSION IF NOT EXISTS ' || quote_ident(x.extname)
       || CASE WHEN n.nspname = 'pg_catalog' THEN ''
               ELSE ' WITH SCHEMA ' || quote_ident(n.nspname) END || ' CASCADE',
       NULL, NULL
FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname <> 'plpgsql'
"""

COLLATIONS = f"""
SELECT 'pg_collation'::regclass::oid, o.oid, 'collation', n.nspname, o.collname,
       NULL, NULL, NULL, NULL,
       'CREATE COLLATION ' || {_full("o.collname")} || ' ('
       || CASE o.collprovider
            WHEN 'c' THEN 'PROVIDER = libc, LC_COLLATE = ' || quote_literal(o.collcollate)
                          || ', LC_CTYPE = ' || quote_literal(o.collctype)
            ELSE CASE o.collprovider WHEN 'i' THEN 'PROVIDER = icu' ELSE 'PROVIDER = builtin' END
                 || ', LOCALE = ' || quote_literal(coalesce(
                      to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale',
                      o.collcollate)) END
       || CASE WHEN o.collisdeterministic THEN '' ELSE ', DETERMINISTIC = false' END
       || coalesce(', RULES = ' || quote_literal(to_jsonb(o) ->> 'collicurules'), '') || ')',
       'COLLATION ' || {_full("o.collname")}, NULL
FROM pg_collation o JOIN pg_namespace n ON n.oid = o.collnamespace
WHERE o.collnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_collation", "o.oid")}
"""

#: Those of identity columns are made with their columns.
SEQUENCES = f"""
SELECT 'pg_class'::regclass::oid, c.oid, 'sequence', n.nspname, c.relname, NULL, NULL, NULL, NULL,
       'CREATE SEQUENCE ' || {_full("c.relname")} || ' AS ' || format_type(s.seqtypid, NULL)
       || ' INCREMENT BY ' || s.seqincrement || ' MINVALUE ' || s.seqmin
       || ' MAXVALUE ' || s.seqmax || ' START WITH ' || s.seqstart || ' CACHE ' || s.seqcache
       || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END,
       'SEQUENCE ' || {_full("c.relname")}, NULL
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_class", "c.oid")}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'i')
"""

OWNERSHIPS = f"""
SELECT NULL::oid, NULL::oid, 'ownership', n.nspname, s.relname, NULL, m.nspname, c.relname, NULL,
       'ALTER SEQUENCE ' || {_full("s.relname")} || ' OWNED BY '
       || {_full("c.relname", "m")} || '.' || quote_ident(a.attname),
       NULL, {_NOT_A_TABLE}
FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace m ON m.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype = 'a' AND d.refobjsubid > 0 AND s.relnamespace = ANY (%(schemas)s)
"""

#: Enums, composite types and ranges. An enum that a column has is in the model.
TYPES = f"""
SELECT 'pg_type'::regclass::oid, t.oid, 'type', n.nspname, t.typname, NULL, NULL, NULL, NULL,
       'CREATE TYPE ' || {_full("t.typname")} || CASE t.typtype
         WHEN 'e' THEN ' AS ENUM (' || coalesce((
           SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
           FROM pg_enum e WHERE e.enumtypid = t.oid), '') || ')'
         WHEN 'c' THEN ' AS (' || coalesce((
           SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
             || coalesce(' COLLATE ' || (
                  SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
                  FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
                  JOIN pg_type ft ON ft.oid = a.atttypid
                  WHERE co.oid = a.attcollation AND a.attcollation <> ft.typcollation), ''),
             ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
             AND NOT a.attisdropped), '') || ')'
         ELSE ' AS RANGE (SUBTYPE = ' || format_type(r.rngsubtype, NULL)
           || CASE WHEN oc.opcdefault THEN ''
                   ELSE ', SUBTYPE_OPCLASS = ' || {_full("oc.opcname", "ocn")} END
           || coalesce(', COLLATION = ' || (
                SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
                FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
                JOIN pg_type st ON st.oid = r.rngsubtype
                WHERE co.oid = r.rngcollation AND r.rngcollation <> st.typcollation), '')
           || CASE WHEN r.rngsubdiff = 0 THEN ''
                   ELSE ', SUBTYPE_DIFF = ' || {_full("dp.proname", "dn")} END
           || coalesce(', MULTIRANGE_TYPE_NAME = ' || {_full("mt.typname", "mn")}, '') || ')'
       END,
       'TYPE ' || {_full("t.typname")},
       CASE WHEN t.typtype = 'b' THEN 'its functions are in C'
            WHEN r.rngcanonical::oid <> 0 THEN 'its canonical function is in C' END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_opclass oc ON oc.oid = r.rngsubopc
LEFT JOIN pg_namespace ocn ON ocn.oid = oc.opcnamespace
LEFT JOIN pg_proc dp ON dp.oid = r.rngsubdiff::oid
LEFT JOIN pg_namespace dn ON dn.oid = dp.pronamespace
LEFT JOIN pg_type mt ON mt.oid = (to_jsonb(r) ->> 'rngmultitypid')::oid
LEFT JOIN pg_namespace mn ON mn.oid = mt.typnamespace
WHERE t.typnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_type", "t.oid")}
  AND (t.typtype IN ('e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
       OR (t.typtype = 'b' AND t.typisdefined AND NOT EXISTS (
             SELECT FROM pg_type el WHERE el.typarray = t.oid)))
  AND NOT (t.typtype = 'e' AND EXISTS (
    SELECT FROM pg_attribute a JOIN pg_class k ON k.oid = a.attrelid
    WHERE a.atttypid IN (t.oid, t.typarray) AND k.relkind IN ('r', 'p') AND a.attnum > 0
      AND NOT a.attisdropped AND k.relnamespace = ANY (%(schemas)s)))
"""

DOMAINS = f"""
SELECT 'pg_type'::regclass::oid, t.oid, 'domain', n.nspname, t.typname, NULL, NULL, NULL, NULL,
       'CREATE DOMAIN ' || {_full("t.typname")} || ' AS ' || format_type(t.typbasetype, t.typtypmod)
       || coalesce(' COLLATE ' || (
            SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
            FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
            JOIN pg_type bt ON bt.oid = t.typbasetype
            WHERE co.oid = t.typcollation AND t.typcollation <> bt.typcollation), '')
       || coalesce(E'\\n  DEFAULT ' || t.typdefault, '')
       || coalesce((SELECT string_agg(E'\\n  CONSTRAINT ' || quote_ident(o.conname) || ' '
                                      || pg_get_constraintdef(o.oid), '' ORDER BY o.conname)
                    FROM pg_constraint o
                    WHERE o.contypid = t.oid AND o.contype = 'c' AND o.convalidated), '')
       || CASE WHEN t.typnotnull THEN E'\\n  NOT NULL' ELSE '' END,
       'DOMAIN ' || {_full("t.typname")}, NULL
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typnamespace = ANY (%(schemas)s) AND t.typtype = 'd'
  AND {_of_no_extension("pg_type", "t.oid")}
"""

#: Rows may stand that such a check would refuse, and it refuses every new one.
UNPROVEN_DOMAIN_CHECKS = """
SELECT NULL::oid, NULL::oid, 'domain', n.nspname, t.typname, NULL, NULL, NULL, NULL, '', NULL,
       'its check ' || quote_ident(o.conname) || ' is NOT VALID: rows that break it could not be '
       'loaded; add it afterwards'
FROM pg_constraint o JOIN pg_type t ON t.oid = o.contypid
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typnamespace = ANY (%(schemas)s) AND o.contype = 'c' AND NOT o.convalidated
"""

FUNCTIONS = f"""
SELECT 'pg_proc'::regclass::oid, p.oid,
       CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, n.nspname, p.proname,
       pg_get_function_identity_arguments(p.oid), NULL, NULL, NULL,
       rtrim(pg_get_functiondef(p.oid), E'\\n'),
       CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || {_full("p.proname")}
       || '(' || pg_get_function_identity_arguments(p.oid) || ')', NULL
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.pronamespace = ANY (%(schemas)s) AND p.prokind IN ('f', 'p', 'w')
  AND {_of_no_extension("pg_proc", "p.oid")}
  -- A range makes its own constructors.
  AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
                  AND i.objid = p.oid AND i.deptype = 'i')
"""


def _function(column: str, name: str) -> str:
    """Return an aggregate's option that names a function; empty where it has none."""
    return (
        f"CASE WHEN a.{column}::oid = 0 THEN '' ELSE E',\\n  {name} = ' || "
        f"(SELECT quote_ident(fn.nspname) || '.' || quote_ident(f.proname) FROM pg_proc f "
        f"JOIN pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = a.{column}::oid) END"
    )


def _modify(column: str, name: str) -> str:
    words = "WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE'"
    normal = "CASE WHEN a.aggkind = 'n' THEN 'r' ELSE 'w' END"
    return (
        f"CASE WHEN a.{column}::text = {normal} THEN '' "
        f"ELSE E',\\n  {name} = ' || CASE a.{column} {words} END END"
    )


AGGREGATES = f"""
SELECT 'pg_proc'::regclass::oid, p.oid, 'aggregate', n.nspname, p.proname,
       pg_get_function_identity_arguments(p.oid), NULL, NULL, NULL,
       'CREATE AGGREGATE ' || {_full("p.proname")} || '('
       || CASE WHEN p.pronargs = 0 THEN '*' ELSE pg_get_function_arguments(p.oid) END
       || E') (\\n  SFUNC = '
       || (SELECT quote_ident(fn.nspname) || '.' || quote_ident(f.proname) FROM pg_proc f
           JOIN pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = a.aggtransfn::oid)
       || E',\\n  STYPE = ' || format_type(a.aggtranstype, NULL)
       || CASE WHEN a.aggtransspace > 0 THEN E',\\n  SSPACE = ' || a.aggtransspace ELSE '' END
       || {_function("aggfinalfn", "FINALFUNC")}
       || CASE WHEN a.aggfinalextra THEN E',\\n  FINALFUNC_EXTRA' ELSE '' END
       || {_modify("aggfinalmodify", "FINALFUNC_MODIFY")}
       || {_function("aggcombinefn", "COMBINEFUNC")}
       || {_function("aggserialfn", "SERIALFUNC")}
       || {_function("aggdeserialfn", "DESERIALFUNC")}
       || coalesce(E',\\n  INITCOND = ' || quote_literal(a.agginitval), '')
       || {_function("aggmtransfn", "MSFUNC")}
       || {_function("aggminvtransfn", "MINVFUNC")}
       || CASE WHEN a.aggmtranstype = 0 THEN ''
               ELSE E',\\n  MSTYPE = ' || format_type(a.aggmtranstype, NULL) END
       || CASE WHEN a.aggmtransspace > 0 THEN E',\\n  MSSPACE = ' || a.aggmtransspace ELSE '' END
       || {_function("aggmfinalfn", "MFINALFUNC")}
       || CASE WHEN a.aggmfinalextra THEN E',\\n  MFINALFUNC_EXTRA' ELSE '' END
       || CASE WHEN a.aggmtransfn::oid = 0 THEN ''
               ELSE {_modify("aggmfinalmodify", "MFINALFUNC_MODIFY")} END
       || coalesce(E',\\n  MINITCOND = ' || quote_literal(a.aggminitval), '')
       || CASE WHEN a.aggsortop = 0 THEN '' ELSE (
            SELECT E',\\n  SORTOP = OPERATOR(' || quote_ident(sn.nspname) || '.'
                   || so.oprname || ')'
            FROM pg_operator so JOIN pg_namespace sn ON sn.oid = so.oprnamespace
            WHERE so.oid = a.aggsortop) END
       || CASE WHEN a.aggkind = 'h' THEN E',\\n  HYPOTHETICAL' ELSE '' END
       || CASE p.proparallel WHEN 's' THEN E',\\n  PARALLEL = SAFE'
                             WHEN 'r' THEN E',\\n  PARALLEL = RESTRICTED' ELSE '' END
       || E'\\n)',
       'AGGREGATE ' || {_full("p.proname")} || '('
       || CASE WHEN p.pronargs = 0 THEN '*' ELSE pg_get_function_identity_arguments(p.oid) END
       || ')', NULL
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_aggregate a ON a.aggfnoid::oid = p.oid
WHERE p.pronamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_proc", "p.oid")}
"""


def _operator(column: str, name: str) -> str:
    return (
        f"CASE WHEN o.{column} = 0 THEN '' ELSE (SELECT ', {name} = OPERATOR(' || "
        f"quote_ident(rn.nspname) || '.' || r.oprname || ')' FROM pg_operator r "
        f"JOIN pg_namespace rn ON rn.oid = r.oprnamespace WHERE r.oid = o.{column}) END"
    )


#: An operator names its commutator and its negator whichever of them is created first.
OPERATORS = f"""
SELECT 'pg_operator'::regclass::oid, o.oid, 'operator', n.nspname, o.oprname,
       CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END || ', '
       || format_type(o.oprright, NULL), NULL, NULL, NULL,
       'CREATE OPERATOR ' || quote_ident(n.nspname) || '.' || o.oprname || ' (FUNCTION = '
       || (SELECT quote_ident(fn.nspname) || '.' || quote_ident(f.proname) FROM pg_proc f
           JOIN pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = o.oprcode::oid)
       || CASE WHEN o.oprleft = 0 THEN '' ELSE ', LEFTARG = ' || format_type(o.oprleft, NULL) END
       || ', RIGHTARG = ' || format_type(o.oprright, NULL)
       || {_operator("oprcom", "COMMUTATOR")} || {_operator("oprnegate", "NEGATOR")}
       || CASE WHEN o.oprrest::oid = 0 THEN '' ELSE ', RESTRICT = ' || o.oprrest::text END
       || CASE WHEN o.oprjoin::oid = 0 THEN '' ELSE ', JOIN = ' || o.oprjoin::text END
       || CASE WHEN o.oprcanhash THEN ', HASHES' ELSE '' END
       || CASE WHEN o.oprcanmerge THEN ', MERGES' ELSE '' END || ')',
       'OPERATOR ' || quote_ident(n.nspname) || '.' || o.oprname || ' ('
       || CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END || ', '
       || format_type(o.oprright, NULL) || ')',
       CASE WHEN o.oprright = 0 THEN 'a postfix operator: PostgreSQL has none from version 14 on'
       END
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oprnamespace = ANY (%(schemas)s) AND o.oprcode::oid <> 0
  AND {_of_no_extension("pg_operator", "o.oid")}
"""

OPERATOR_CLASSES = f"""
SELECT 'pg_opclass'::regclass::oid, k.oid, 'operator class', n.nspname, k.opcname,
       NULL, NULL, NULL, NULL,
       'CREATE OPERATOR CLASS ' || {_full("k.opcname")}
       || CASE WHEN k.opcdefault THEN ' DEFAULT' ELSE '' END || ' FOR TYPE '
       || format_type(k.opcintype, NULL) || ' USING ' || quote_ident(m.amname)
       || CASE WHEN fn.oid = n.oid AND f.opfname = k.opcname THEN ''
               ELSE ' FAMILY ' || {_full("f.opfname", "fn")} END
       || ' AS ' || concat_ws(', ',
         (SELECT string_agg('OPERATOR ' || x.amopstrategy || ' ' || quote_ident(xn.nspname) || '.'
                   || xo.oprname || ' (' || format_type(x.amoplefttype, NULL) || ', '
                   || format_type(x.amoprighttype, NULL) || ')'
                   || CASE WHEN x.amopsortfamily = 0 THEN '' ELSE ' FOR ORDER BY ' || (
                        SELECT quote_ident(sfn.nspname) || '.' || quote_ident(sf.opfname)
                        FROM pg_opfamily sf JOIN pg_namespace sfn ON sfn.oid = sf.opfnamespace
                        WHERE sf.oid = x.amopsortfamily) END, ', ' ORDER BY x.amopstrategy)
          FROM pg_amop x JOIN pg_operator xo ON xo.oid = x.amopopr
          JOIN pg_namespace xn ON xn.oid = xo.oprnamespace
          JOIN pg_depend d ON d.classid = 'pg_amop'::regclass AND d.objid = x.oid
            AND d.refclassid = 'pg_opclass'::regclass AND d.refobjid = k.oid),
         (SELECT string_agg('FUNCTION ' || y.amprocnum || ' ' || y.amproc::oid::regprocedure::text,
                            ', ' ORDER BY y.amprocnum)
          FROM pg_amproc y
          JOIN pg_depend d ON d.classid = 'pg_amproc'::regclass AND d.objid = y.oid
            AND d.refclassid = 'pg_opclass'::regclass AND d.refobjid = k.oid),
         CASE WHEN k.opckeytype = 0 THEN NULL
              ELSE 'STORAGE ' || format_type(k.opckeytype, NULL) END),
       'OPERATOR CLASS ' || {_full("k.opcname")} || ' USING ' || quote_ident(m.amname), NULL
FROM pg_opclass k JOIN pg_namespace n ON n.oid = k.opcnamespace JOIN pg_am m ON m.oid = k.opcmethod
JOIN pg_opfamily f ON f.oid = k.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
WHERE k.opcnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_opclass", "k.oid")}
"""

#: A family that no class of its own name makes.
OPERATOR_FAMILIES = f"""
SELECT 'pg_opfamily'::regclass::oid, f.oid, 'operator family', n.nspname, f.opfname,
       NULL, NULL, NULL, NULL,
       'CREATE OPERATOR FAMILY ' || {_full("f.opfname")} || ' USING ' || quote_ident(m.amname),
       'OPERATOR FAMILY ' || {_full("f.opfname")} || ' USING ' || quote_ident(m.amname), NULL
FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am m ON m.oid = f.opfmethod
WHERE f.opfnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_opfamily", "f.oid")}
  AND NOT EXISTS (SELECT FROM pg_opclass k WHERE k.opcfamily = f.oid AND k.opcname = f.opfname
                  AND k.opcnamespace = f.opfnamespace)
"""

CASTS = f"""
SELECT 'pg_cast'::regclass::oid, k.oid, 'cast', NULL,
       '(' || format_type(k.castsource, NULL) || ' AS ' || format_type(k.casttarget, NULL) || ')',
       NULL, NULL, NULL, NULL,
       'CREATE CAST (' || format_type(k.castsource, NULL) || ' AS '
       || format_type(k.casttarget, NULL) || ')'
       || CASE k.castmethod WHEN 'f' THEN ' WITH FUNCTION ' || k.castfunc::regprocedure::text
                            WHEN 'i' THEN ' WITH INOUT' ELSE ' WITHOUT FUNCTION' END
       || CASE k.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT'
                             ELSE '' END,
       'CAST (' || format_type(k.castsource, NULL) || ' AS '
       || format_type(k.casttarget, NULL) || ')',
       CASE WHEN s.typnamespace = ANY (%(schemas)s) OR t.typnamespace = ANY (%(schemas)s) THEN NULL
            ELSE 'it is between types that the database has anyway, and belongs to the database: '
                 'create it in another one by hand' END
FROM pg_cast k JOIN pg_type s ON s.oid = k.castsource JOIN pg_type t ON t.oid = k.casttarget
WHERE k.oid >= 16384
  AND {_of_no_extension("pg_cast", "k.oid")}
  -- A range brings its cast to a multirange.
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass
                  AND d.objid = k.oid AND d.deptype = 'i')
"""

TEXT_SEARCH = f"""
SELECT 'pg_ts_dict'::regclass::oid, d.oid, 'text search dictionary', n.nspname, d.dictname,
       NULL, NULL, NULL, NULL,
       'CREATE TEXT SEARCH DICTIONARY ' || {_full("d.dictname")} || ' (TEMPLATE = '
       || {_full("t.tmplname", "tn")} || coalesce(', ' || d.dictinitoption, '') || ')',
       'TEXT SEARCH DICTIONARY ' || {_full("d.dictname")}, NULL
FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
JOIN pg_ts_template t ON t.oid = d.dicttemplate JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
WHERE d.dictnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_ts_dict", "d.oid")}
UNION ALL
SELECT 'pg_ts_config'::regclass::oid, g.oid, 'text search configuration', n.nspname, g.cfgname,
       NULL, NULL, NULL, NULL,
       'CREATE TEXT SEARCH CONFIGURATION ' || {_full("g.cfgname")} || ' (PARSER = '
       || {_full("p.prsname", "pn")} || ')'
       || coalesce((
         SELECT string_agg(E';\\nALTER TEXT SEARCH CONFIGURATION ' || {_full("g.cfgname")}
                           || ' ADD MAPPING FOR ' || quote_ident(m.alias) || ' WITH ' || m.dicts,
                           '' ORDER BY m.alias)
         FROM (SELECT tt.alias, string_agg({_full("md.dictname", "mn")}, ', ' ORDER BY x.mapseqno)
                      AS dicts
               FROM pg_ts_config_map x JOIN ts_token_type(g.cfgparser) tt
                 ON tt.tokid = x.maptokentype
               JOIN pg_ts_dict md ON md.oid = x.mapdict
               JOIN pg_namespace mn ON mn.oid = md.dictnamespace
               WHERE x.mapcfg = g.oid GROUP BY tt.alias) AS m), ''),
       'TEXT SEARCH CONFIGURATION ' || {_full("g.cfgname")}, NULL
FROM pg_ts_config g JOIN pg_namespace n ON n.oid = g.cfgnamespace
JOIN pg_ts_parser p ON p.oid = g.cfgparser JOIN pg_namespace pn ON pn.oid = p.prsnamespace
WHERE g.cfgnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_ts_config", "g.oid")}
"""

_OPTIONS = """(
  SELECT string_agg(quote_ident(o.option_name) || '=' || quote_literal(o.option_value), ', '
                    ORDER BY o.option_name)
  FROM pg_options_to_table({options}) AS o)"""

VIEWS = f"""
SELECT 'pg_class'::regclass::oid, c.oid,
       CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, n.nspname, c.relname,
       NULL, NULL, NULL, NULL,
       CASE c.relkind WHEN 'v' THEN 'CREATE VIEW ' ELSE 'CREATE MATERIALIZED VIEW ' END
       || {_full("c.relname")}
       || coalesce(' WITH (' || {_OPTIONS.format(options="c.reloptions")} || ')', '') || E' AS\\n'
       || rtrim(pg_get_viewdef(c.oid), ';')
       || CASE c.relkind WHEN 'm' THEN E'\\nWITH NO DATA' ELSE '' END
       || coalesce((
         SELECT string_agg(E';\\nALTER VIEW ' || {_full("c.relname")} || ' ALTER COLUMN '
                           || quote_ident(a.attname) || ' SET DEFAULT '
                           || pg_get_expr(f.adbin, f.adrelid), '' ORDER BY a.attnum)
         FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
         WHERE f.adrelid = c.oid), ''),
       CASE c.relkind WHEN 'v' THEN 'VIEW ' ELSE 'MATERIALIZED VIEW ' END || {_full("c.relname")},
       NULL
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('v', 'm')
  AND {_of_no_extension("pg_class", "c.oid")}
"""

VIEW_INDEXES = f"""
SELECT 'pg_class'::regclass::oid, i.oid, 'index', n.nspname, i.relname, NULL, n.nspname, c.relname,
       NULL, pg_get_indexdef(i.oid), 'INDEX ' || {_full("i.relname")}, NULL
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind = 'm'
  AND {_of_no_extension("pg_class", "c.oid")}
"""

RULES = f"""
SELECT 'pg_rewrite'::regclass::oid, w.oid, 'rule', NULL, w.rulename, NULL, n.nspname, c.relname,
       CASE w.ev_enabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
                         WHEN 'A' THEN 'always' END,
       rtrim(pg_get_ruledef(w.oid), ';'),
       'RULE ' || quote_ident(w.rulename) || ' ON ' || {_full("c.relname")}, {_NOT_A_TABLE}
FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND w.rulename <> '_RETURN'
  AND {_of_no_extension("pg_class", "c.oid")}
"""

TRIGGERS = f"""
SELECT 'pg_trigger'::regclass::oid, t.oid, 'trigger', NULL, t.tgname, NULL, n.nspname, c.relname,
       CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END,
       pg_get_triggerdef(t.oid),
       'TRIGGER ' || quote_ident(t.tgname) || ' ON ' || {_full("c.relname")}, {_NOT_A_TABLE}
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND NOT t.tgisinternal AND t.tgparentid = 0
  AND t.tgname <> %(frozen)s
"""

POLICIES = f"""
SELECT 'pg_policy'::regclass::oid, p.oid, 'policy', NULL, p.polname, NULL, n.nspname, c.relname,
       NULL,
       'CREATE POLICY ' || quote_ident(p.polname) || ' ON ' || {_full("c.relname")}
       || CASE WHEN p.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
       || CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT'
                        WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' ELSE '' END
       || ' TO ' || (
         SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                           ELSE quote_ident(pg_get_userbyid(role)) END, ', ' ORDER BY role)
         FROM unnest(p.polroles) AS role)
       || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''),
       'POLICY ' || quote_ident(p.polname) || ' ON ' || {_full("c.relname")}, {_NOT_A_TABLE}
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s)
"""

ROW_SECURITY = f"""
SELECT NULL::oid, NULL::oid, 'row security', NULL, s.word, NULL, n.nspname, c.relname, NULL,
       'ALTER TABLE ' || {_full("c.relname")} || s.action || ' ROW LEVEL SECURITY',
       NULL, {_NOT_A_TABLE}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN (VALUES ('enabled', ' ENABLE'), ('forced', ' FORCE')) AS s(word, action)
  ON CASE s.word WHEN 'enabled' THEN c.relrowsecurity ELSE c.relforcerowsecurity END
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
"""

#: Of a column, under its name, and of the rows of a table, under ``*``.
STORAGE = f"""
SELECT NULL::oid, NULL::oid, 'storage', NULL, a.attname, NULL, n.nspname, c.relname, NULL,
       concat_ws(E';\\n',
         CASE WHEN a.attstorage <> t.typstorage THEN k.head || ' SET STORAGE '
           || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                                WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
         CASE to_jsonb(a) ->> 'attcompression' WHEN 'p' THEN k.head || ' SET COMPRESSION pglz'
              WHEN 'l' THEN k.head || ' SET COMPRESSION lz4' END,
         CASE WHEN (to_jsonb(a) ->> 'attstattarget')::int >= 0
           THEN k.head || ' SET STATISTICS ' || (to_jsonb(a) ->> 'attstattarget') END,
         k.head || ' SET (' || {_OPTIONS.format(options="a.attoptions")} || ')'),
       NULL, {_NOT_A_TABLE}
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (SELECT 'ALTER TABLE ' || {_full("c.relname")} || ' ALTER COLUMN '
                           || quote_ident(a.attname) AS head) AS k
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND a.attnum > 0
  AND NOT a.attisdropped AND NOT c.relispartition
  AND (a.attstorage <> t.typstorage OR (to_jsonb(a) ->> 'attcompression') IN ('p', 'l')
       OR (to_jsonb(a) ->> 'attstattarget')::int >= 0 OR a.attoptions IS NOT NULL)
UNION ALL
SELECT NULL, NULL, 'storage', NULL, '*', NULL, n.nspname, c.relname, NULL,
       'ALTER TABLE ' || {_full("c.relname")} || ' SET (' || concat_ws(', ',
         {_OPTIONS.format(options="c.reloptions")}, (
         SELECT string_agg('toast.' || quote_ident(o.option_name) || '='
                           || quote_literal(o.option_value), ', ' ORDER BY o.option_name)
         FROM pg_options_to_table(toast.reloptions) AS o)) || ')',
       NULL, {_NOT_A_TABLE}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (c.reloptions IS NOT NULL OR toast.reloptions IS NOT NULL)
"""

STATISTICS = f"""
SELECT 'pg_statistic_ext'::regclass::oid, s.oid, 'statistics', n.nspname, s.stxname,
       NULL, NULL, NULL, NULL,
       pg_get_statisticsobjdef(s.oid)
       || CASE WHEN (to_jsonb(s) ->> 'stxstattarget')::int >= 0
               THEN E';\\nALTER STATISTICS ' || {_full("s.stxname")} || ' SET STATISTICS '
                    || (to_jsonb(s) ->> 'stxstattarget') ELSE '' END,
       'STATISTICS ' || {_full("s.stxname")}, {_NOT_A_TABLE}
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_class c ON c.oid = s.stxrelid
WHERE s.stxnamespace = ANY (%(schemas)s)
"""

MARKS = f"""
SELECT NULL::oid, NULL::oid, 'replica identity', NULL,
       CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing' ELSE i.relname END,
       NULL, n.nspname, c.relname, NULL,
       'ALTER TABLE ' || {_full("c.relname")} || ' REPLICA IDENTITY '
       || CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
                              ELSE 'USING INDEX ' || quote_ident(i.relname) END,
       NULL, {_NOT_A_TABLE}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisreplident
LEFT JOIN pg_class i ON i.oid = x.indexrelid
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (c.relreplident IN ('f', 'n') OR (c.relreplident = 'i' AND i.oid IS NOT NULL))
UNION ALL
SELECT NULL, NULL, 'cluster mark', NULL, i.relname, NULL, n.nspname, c.relname, NULL,
       'ALTER TABLE ' || {_full("c.relname")} || ' CLUSTER ON ' || quote_ident(i.relname),
       NULL, {_NOT_A_TABLE}
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND x.indisclustered AND c.relkind = 'r'
  AND NOT c.relispartition
"""

#: What belongs to the database, or is reached from it.
AROUND = """
SELECT NULL::oid, NULL::oid, 'event trigger', NULL, evtname, NULL, NULL, NULL, NULL, '', NULL,
       'it belongs to the database, not to a schema: it goes on firing in this one'
FROM pg_event_trigger
UNION ALL
SELECT NULL, NULL, 'publication', NULL, pubname, NULL, NULL, NULL, NULL, '', NULL,
       'who subscribes to it expects the tables of the source: publish the new ones by hand'
FROM pg_publication p
WHERE p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r
                                JOIN pg_class c ON c.oid = r.prrelid
                                WHERE r.prpubid = p.oid AND c.relnamespace = ANY (%(schemas)s))
UNION ALL
SELECT NULL, NULL, 'subscription', NULL, subname, NULL, NULL, NULL, NULL, '', NULL,
       'it writes to the tables of the source: subscribe the new ones by hand'
FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT NULL, NULL, 'foreign server', NULL, srvname, NULL, NULL, NULL, NULL, '', NULL,
       'it belongs to the database, and has passwords'
FROM pg_foreign_server
UNION ALL
SELECT NULL, NULL, 'foreign table', n.nspname, c.relname, NULL, NULL, NULL, NULL, '', NULL,
       'its rows are on another server'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind = 'f'
UNION ALL
SELECT NULL, NULL, 'conversion', n.nspname, c.conname, NULL, NULL, NULL, NULL, '', NULL,
       'its function is in C'
FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.connamespace = ANY (%(schemas)s)
UNION ALL
SELECT NULL, NULL, 'text search parser', n.nspname, p.prsname, NULL, NULL, NULL, NULL, '', NULL,
       'its functions are in C'
FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = p.prsnamespace
WHERE p.prsnamespace = ANY (%(schemas)s)
UNION ALL
SELECT NULL, NULL, 'text search template', n.nspname, t.tmplname, NULL, NULL, NULL, NULL, '', NULL,
       'its functions are in C'
FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace
WHERE t.tmplnamespace = ANY (%(schemas)s)
UNION ALL
SELECT NULL, NULL, 'large objects', NULL, count(*) || '', NULL, NULL, NULL, NULL, '', NULL,
       'they belong to the database; columns of type oid keep their numbers'
FROM pg_largeobject_metadata HAVING count(*) > 0
UNION ALL
SELECT NULL, NULL, 'privileges', NULL, 'on tables, views and sequences', NULL, NULL, NULL, NULL,
       '', NULL, 'regionkit cutover copies them'
FROM pg_class c WHERE c.relnamespace = ANY (%(schemas)s) AND c.relacl IS NOT NULL
HAVING count(*) > 0
UNION ALL
SELECT NULL, NULL, 'privileges', NULL, 'on functions and types', NULL, NULL, NULL, NULL, '', NULL,
       'grant them on the layout by hand'
FROM (SELECT FROM pg_proc WHERE pronamespace = ANY (%(schemas)s) AND proacl IS NOT NULL
      UNION ALL SELECT FROM pg_type WHERE typnamespace = ANY (%(schemas)s) AND typacl IS NOT NULL
     ) AS granted
HAVING count(*) > 0
"""

QUERIES = (
    EXTENSIONS,
    COLLATIONS,
    SEQUENCES,
    OWNERSHIPS,
    TYPES,
    DOMAINS,
    UNPROVEN_DOMAIN_CHECKS,
    FUNCTIONS,
    AGGREGATES,
    OPERATORS,
    OPERATOR_FAMILIES,
    OPERATOR_CLASSES,
    CASTS,
    TEXT_SEARCH,
    VIEWS,
    VIEW_INDEXES,
    RULES,
    TRIGGERS,
    POLICIES,
    ROW_SECURITY,
    STORAGE,
    STATISTICS,
    MARKS,
    AROUND,
)

#: What is a part of what: of a view its rule, of a table its defaults, constraints and indexes, of
#: a type its arrays, of an extension its members. The constraint of a constraint trigger is no part
#: of its table, which would need the trigger then. Catalogue and number of the part, then of the
#: whole.
PARTS = """
SELECT 'pg_rewrite'::regclass::oid, oid, 'pg_class'::regclass::oid, ev_class FROM pg_rewrite
WHERE rulename = '_RETURN' AND oid >= 16384
UNION ALL SELECT 'pg_attrdef'::regclass::oid, oid, 'pg_class'::regclass::oid, adrelid
FROM pg_attrdef
UNION ALL SELECT 'pg_constraint'::regclass::oid, oid,
  CASE WHEN conrelid <> 0 THEN 'pg_class'::regclass::oid ELSE 'pg_type'::regclass::oid END,
  CASE WHEN conrelid <> 0 THEN conrelid ELSE contypid END FROM pg_constraint
WHERE oid >= 16384 AND contype <> 't'
UNION ALL SELECT 'pg_type'::regclass::oid, typarray, 'pg_type'::regclass::oid, oid FROM pg_type
WHERE typarray <> 0 AND oid >= 16384
UNION ALL SELECT 'pg_type'::regclass::oid, t.oid, 'pg_class'::regclass::oid, c.oid
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE c.relkind <> 'c' AND t.oid >= 16384
UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, 'pg_type'::regclass::oid, c.reltype
FROM pg_class c WHERE c.relkind = 'c' AND c.oid >= 16384
UNION ALL SELECT 'pg_type'::regclass::oid, (to_jsonb(r) ->> 'rngmultitypid')::oid,
  'pg_type'::regclass::oid, rngtypid
FROM pg_range r WHERE rngtypid >= 16384 AND to_jsonb(r) ? 'rngmultitypid'
UNION ALL SELECT 'pg_class'::regclass::oid, x.indexrelid, 'pg_class'::regclass::oid, x.indrelid
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relkind <> 'm' AND x.indexrelid >= 16384
UNION ALL SELECT classid, objid, refclassid, refobjid FROM pg_depend
WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
UNION ALL SELECT d.classid, d.objid, d.refclassid, d.refobjid FROM pg_depend d
WHERE d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass, 'pg_proc'::regclass)
  AND d.deptype = 'i' AND d.objid >= 16384
"""

#: Which object needs which: catalogue and number of both. A sequence does not need its column.
NEEDS = """
SELECT DISTINCT classid, objid, refclassid, refobjid FROM pg_depend
WHERE deptype IN ('n', 'a', 'i') AND objid >= 16384
  AND (refobjid >= 16384 OR refclassid = 'pg_extension'::regclass)
  AND NOT (deptype IN ('a', 'i') AND classid = 'pg_class'::regclass
           AND refclassid = 'pg_class'::regclass AND refobjsubid > 0)
"""

TABLES = """
SELECT 'pg_class'::regclass::oid, oid FROM pg_class
WHERE relnamespace = ANY (%(schemas)s) AND relkind IN ('r', 'p')
"""

EXTENSION_FUNCTIONS = """
SELECT DISTINCT d.refobjid, p.proname FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
"""

#: Comments on what is no extra itself: kind, schema, name, table, the words behind COMMENT ON.
#: Those of tables and their columns are in the model.
COMMENTS = f"""
SELECT 'constraint', NULL, o.conname, n.nspname, c.relname,
       'CONSTRAINT ' || quote_ident(o.conname) || ' ON ' || {_full("c.relname")}, d.description
FROM pg_description d
JOIN pg_constraint o ON d.classoid = 'pg_constraint'::regclass AND d.objoid = o.oid
JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND NOT c.relispartition AND c.relkind IN ('r', 'p')
  AND {_of_no_extension("pg_class", "c.oid")}
UNION ALL
SELECT 'constraint', NULL, o.conname, NULL, NULL,
       'CONSTRAINT ' || quote_ident(o.conname) || ' ON DOMAIN ' || {_full("t.typname")},
       d.description
FROM pg_description d
JOIN pg_constraint o ON d.classoid = 'pg_constraint'::regclass AND d.objoid = o.oid
JOIN pg_type t ON t.oid = o.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typnamespace = ANY (%(schemas)s) AND {_of_no_extension("pg_type", "t.oid")}
UNION ALL
SELECT 'index', n.nspname, i.relname, n.nspname, c.relname, 'INDEX ' || {_full("i.relname")},
       d.description
FROM pg_description d JOIN pg_class i ON d.classoid = 'pg_class'::regclass AND d.objoid = i.oid
JOIN pg_index x ON x.indexrelid = i.oid JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND {_of_no_extension("pg_class", "c.oid")}
UNION ALL
SELECT 'type', n.nspname, t.typname, NULL, NULL, 'TYPE ' || {_full("t.typname")}, d.description
FROM pg_description d JOIN pg_type t ON d.classoid = 'pg_type'::regclass AND d.objoid = t.oid
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typnamespace = ANY (%(schemas)s) AND t.typtype = 'e'
  AND {_of_no_extension("pg_type", "t.oid")}
UNION ALL
SELECT 'column', n.nspname, a.attname, n.nspname, c.relname,
       'COLUMN ' || {_full("c.relname")} || '.' || quote_ident(a.attname), d.description
FROM pg_description d JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relnamespace = ANY (%(schemas)s) AND c.relkind IN ('v', 'm', 'c') AND d.objsubid > 0
  AND {_of_no_extension("pg_class", "c.oid")}
UNION ALL
SELECT 'schema', NULL, n.nspname, NULL, NULL, 'SCHEMA ' || quote_ident(n.nspname), d.description
FROM pg_description d JOIN pg_namespace n ON d.classoid = 'pg_namespace'::regclass
  AND d.objoid = n.oid
WHERE n.oid = ANY (%(schemas)s) AND NOT (n.nspname = 'public'
                                         AND d.description = 'standard public schema')
"""

#: Comments by catalogue and number, for what is an extra itself.
DESCRIPTIONS = """
SELECT classoid, objoid, description FROM pg_description WHERE objsubid = 0 AND objoid >= 16384
"""
