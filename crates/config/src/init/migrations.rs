//! What changes a database's schema before a release takes traffic.

use super::listing::Listing;

/// The command, in the image, and the file that tells of it. Only ever a comment: whether it may run while the old release still
/// does, nobody can tell from files.
pub fn look(files: &Listing) -> Option<(&'static str, &'static str)> {
    let prisma = "prisma/schema.prisma";
    if files.word_in("django", &["manage.py"]) {
        return Some(("python manage.py migrate", "manage.py"));
    }
    if files.has("alembic.ini") {
        return Some(("alembic upgrade head", "alembic.ini"));
    }
    if files.has(prisma) {
        return Some(("npx prisma migrate deploy", prisma));
    }
    for knex in ["knexfile.js", "knexfile.ts", "knexfile.cjs", "knexfile.mjs"] {
        if files.has(knex) {
            return Some(("npx knex migrate:latest", knex));
        }
    }
    // As Rails has it, and what is made after it.
    if files.has("bin/rails") && files.has_folder("db") {
        return Some(("bin/rails db:migrate", "bin/rails"));
    }
    None
}
