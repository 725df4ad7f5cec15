//! In what the two databases differ. All other SQL is the same text for both: TEXT and BIGINT, `$1` for values.

/// Who adds to deliveries and audit holds this lock of the database. The number is ours by habit only.
const KEEPING_LOCK: i64 = 0x6c6f_636b_6b65_6570;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The database's clock, in milliseconds since 1970.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000.0 AS BIGINT)",
            Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }

    /// The elements of a JSON array in the value `$number`, as a table with the column `value`.
    pub(crate) fn each(self, number: usize) -> String {
        match self {
            Dialect::Sqlite => format!("json_each(${number}) AS item"),
            Dialect::Postgres => format!("json_array_elements(CAST(${number} AS JSON)) AS item(value)"),
        }
    }

    /// A step of the schema as this database takes it. PostgreSQL has its rows in no order, and compares text byte by byte
    /// only where it is told to.
    pub(crate) fn schema(self, sql: &'static str) -> String {
        match self {
            Dialect::Sqlite => sql.to_owned(),
            Dialect::Postgres => sql
                .replace(" WITHOUT ROWID", "")
                .replace(" TEXT ", " TEXT COLLATE \"C\" ")
                .replace(" TEXT,\n", " TEXT COLLATE \"C\",\n")
                .replace(" TEXT;\n", " TEXT COLLATE \"C\";\n"),
        }
    }

    /// Begins a transaction whose reads all see the same state.
    pub(crate) fn begin_reading(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Begins a transaction in which what was read stays so until its end: nobody else adds deliveries, answers or entries of
    /// the audit meanwhile.
    pub(crate) fn begin_keeping(self) -> String {
        match self {
            Dialect::Sqlite => self.begin_writing().to_owned(),
            Dialect::Postgres => {
                format!("{}; SELECT pg_advisory_xact_lock({KEEPING_LOCK})", self.begin_writing())
            }
        }
    }

    /// Begins a transaction that writes.
    pub(crate) fn begin_writing(self) -> &'static str {
        match self {
            // Whoever reads in it is the only one to write.
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        }
    }
}
