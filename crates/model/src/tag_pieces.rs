//! What templates of images' tags are made of: text, and placeholders in braces, of which one is a commit or its first digits.

/// Digits of a full commit id (SHA-1 in hexadecimal).
pub(crate) const SHA_DIGITS: usize = 40;
/// Fewest digits that a tag may have of a commit: what `git` and CI shorten to. Fewer are soon two commits'.
const SHA_DIGITS_MIN: usize = 7;

/// A part of a template as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Not empty.
    Text(&'t str),
    /// What stands between the braces.
    Hole(&'t str),
}

/// Why what stands behind a placeholder's name wants no digits of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDigits {
    /// It is nothing that may stand there.
    Unknown,
    /// Not a number from 7 to 40.
    Count,
}

/// # Errors
/// A brace is not closed: in words that follow "it".
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, hole)) = rest.split_once('{') {
        let (hole, behind) = hole.split_once('}').ok_or("it has a `{` without `}`")?;
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        pieces.push(Piece::Hole(hole));
        rest = behind;
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    Ok(pieces)
}

/// How many of a commit's digits are wanted by what stands behind the placeholder's name: nothing for all, `:.8` for eight.
pub(crate) fn digits(precision: &str) -> Result<usize, NoDigits> {
    if precision.is_empty() {
        return Ok(SHA_DIGITS);
    }
    let count = precision.strip_prefix(":.").ok_or(NoDigits::Unknown)?;
    let is_number = (1..=2).contains(&count.len()) && count.bytes().all(|b| b.is_ascii_digit());
    match count.parse() {
        Ok(count) if is_number && (SHA_DIGITS_MIN..=SHA_DIGITS).contains(&count) => Ok(count),
        _ => Err(NoDigits::Count),
    }
}

/// The first so many digits of a commit.
pub(crate) fn first(sha: &str, digits: usize) -> &str {
    sha.get(..digits).unwrap_or(sha)
}
