//! A Rust file as words: names, marks and `::`, without comments and what is in quotes.

pub type Word = String;

/// Attributes and macros stay in, for they hold paths too.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_whitespace() {
            first.len_utf8()
        } else if let Some(length) = unread(rest) {
            length
        } else if is_part(first) {
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            words.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            words.push(rest[..length].to_owned());
            length
        };
        rest = &rest[length..];
    }
    words
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment, a string or a character, with which `rest` begins.
fn unread(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    let prefix = ["br", "b", "r", "c"].into_iter().find(|prefix| {
        let behind = rest.strip_prefix(prefix).unwrap_or_default().trim_start_matches('#');
        behind.starts_with('"') && (prefix.ends_with('r') || rest.as_bytes().get(prefix.len()) == Some(&b'"'))
    });
    let prefix = prefix.unwrap_or_default();
    let quoted = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let marks = quoted.len() - quoted.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(marks));
        let content = &quoted[marks + 1..];
        return Some(content.find(&end).map_or(rest.len(), |at| prefix.len() + marks + 1 + at + end.len()));
    }
    if quoted.starts_with('"') {
        return Some(prefix.len() + closed(quoted, '"'));
    }
    // `'x'` and `'\n'` are characters, `'a` is a lifetime.
    let mut chars = rest.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()) {
        ('\\', _) => Some(closed(rest, '\'')),
        (one, Some('\'')) => Some(2 + one.len_utf8()),
        _ => None,
    }
}

/// The length of what begins and ends with `quote`, in which `\` takes the next character's meaning away.
fn closed(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return index + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// All paths of one `use`, whose tree begins at `words` and ends with `;`.
pub fn after_use(words: &[Word]) -> Vec<Vec<String>> {
    let (mut paths, mut before, mut path) = (Vec::new(), Vec::new(), Vec::<String>::new());
    let mut is_renamed = false;
    let mut take = |path: &mut Vec<String>, from: &[String]| {
        if path.len() > from.len() {
            paths.push(std::mem::take(path));
        }
        *path = from.to_vec();
    };
    for word in words {
        match word.as_str() {
            ";" => break,
            "{" => before.push(path.clone()),
            "," => {
                take(&mut path, before.last().map_or(&[], Vec::as_slice));
                is_renamed = false;
            }
            "}" => {
                take(&mut path, before.last().map_or(&[], Vec::as_slice));
                is_renamed = false;
                before.pop();
                path = Vec::new();
            }
            "::" => {}
            "as" => is_renamed = true,
            _ if is_renamed => {}
            name => path.push(name.to_owned()),
        }
    }
    take(&mut path, &[]);
    paths
}

/// Each `impl Type { … }` without a trait: the type's name, and the names of its functions.
pub fn methods(text: &[Word]) -> Vec<(&str, Vec<Word>)> {
    let (mut all, mut index, mut depth) = (Vec::new(), 0, 0_usize);
    while index < text.len() {
        match text[index].as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            "impl" if depth == 0 => {
                let open =
                    text[index..].iter().position(|word| word == "{").map_or(text.len(), |at| index + at);
                let head = &text[index + 1..open];
                let functions = functions(&text[open..]);
                if let Some(name) = type_name(head).filter(|_| !head.iter().any(|word| word == "for")) {
                    all.push((name, functions));
                }
                index = open;
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    all
}

/// The last name of the path between the parameters of an `impl` and those of its type.
fn type_name(head: &[Word]) -> Option<&str> {
    let mut depth = 0_usize;
    let mut name = None;
    for word in head {
        match word.as_str() {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            "where" => break,
            word if depth == 0 && word.chars().all(is_part) => name = Some(word),
            _ => {}
        }
    }
    name
}

/// The functions of one block, which begins with `{`; not those inside of them.
fn functions(block: &[Word]) -> Vec<Word> {
    let mut depth = 0_usize;
    let mut functions = Vec::new();
    for pair in block.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "fn" if depth == 1 => functions.push(pair[1].clone()),
            _ => {}
        }
    }
    functions
}
