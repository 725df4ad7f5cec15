//! nginx's configuration as a tree of directives, read as nginx's own `ngx_conf_read_token` does. Pure.

use std::fmt;
use std::sync::Arc;

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

/// Deepest nesting of blocks that is followed; nginx's own configurations have about five.
const DEPTH_MAX: usize = 64;
/// Directives whose block is a program in another language.
const LUA_BLOCK: &str = "_by_lua_block";

/// Where a directive stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    pub file: Arc<str>,
    pub line: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// `name args…;` or `name args… { block }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive {
    pub name: String,
    /// Without quotes and escapes.
    pub args: Vec<String>,
    pub at: At,
    /// `None` where it ends with `;`.
    pub block: Option<Vec<Directive>>,
}

impl Directive {
    pub fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The first argument; empty where there is none.
    pub fn first(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// As it would be written, without its block.
    pub fn text(&self) -> String {
        std::iter::once(&self.name).chain(&self.args).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// One file, its includes not followed.
///
/// # Errors
/// `Refused` with file and line for what nginx would not read either.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Directive>, PortError> {
    let mut parser = Parser { file: file.into(), rest: text.chars().peekable(), line: 1 };
    let directives = parser.block(0)?;
    Ok(directives)
}

struct Parser<'a> {
    file: Arc<str>,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
    /// The file is over.
    Over,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn bad(&self, why: &str) -> PortError {
        let at = At { file: self.file.clone(), line: self.line };
        PortError::new(FailureKind::Refused, format!("{at}: {why}"))
            .hint("`nginx -t` on that host says what is wrong with its configuration")
    }

    /// Up to the `}` that closes it, or at depth 0 to the file's end.
    fn block(&mut self, depth: usize) -> Result<Vec<Directive>, PortError> {
        if depth > DEPTH_MAX {
            return Err(self.bad(&format!("blocks are nested more than {DEPTH_MAX} deep")));
        }
        let mut directives = Vec::new();
        loop {
            let name = match self.token()? {
                Token::Word(name) => name,
                Token::Close if depth > 0 => return Ok(directives),
                Token::Over if depth == 0 => return Ok(directives),
                Token::Close => return Err(self.bad("a `}` closes nothing")),
                Token::Over => return Err(self.bad("a `}` is missing")),
                Token::End | Token::Open => return Err(self.bad("a directive has no name")),
            };
            let at = At { file: self.file.clone(), line: self.line };
            let mut args = Vec::new();
            let block = loop {
                match self.token()? {
                    Token::Word(word) => args.push(word),
                    Token::End => break None,
                    Token::Open if name.ends_with(LUA_BLOCK) => {
                        self.skip_lua()?;
                        break Some(Vec::new());
                    }
                    Token::Open => break Some(self.block(depth + 1)?),
                    Token::Close | Token::Over => {
                        return Err(self.bad(&format!("`{name}` does not end with `;`")));
                    }
                }
            };
            directives.push(Directive { name, args, at, block });
        }
    }

    fn token(&mut self) -> Result<Token, PortError> {
        loop {
            match self.rest.peek() {
                None => return Ok(Token::Over),
                Some('#') => while self.next().is_some_and(|read| read != '\n') {},
                Some(' ' | '\t' | '\r' | '\n') => drop(self.next()),
                Some(_) => break,
            }
        }
        match self.next() {
            Some(';') => Ok(Token::End),
            Some('{') => Ok(Token::Open),
            Some('}') => Ok(Token::Close),
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some(first) => self.plain(first),
            None => Ok(Token::Over),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, PortError> {
        let mut word = String::new();
        loop {
            match self.next() {
                Some('\\') => self.escaped(&mut word),
                Some(read) if read == quote => break,
                Some(read) => word.push(read),
                None => return Err(self.bad("a quote is not closed")),
            }
        }
        // Behind a quote nginx takes nothing but what ends a word, and the end of a condition.
        match self.rest.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(Token::Word(word)),
            Some(_) => Err(self.bad("something stands right behind a quoted word")),
        }
    }

    fn plain(&mut self, first: char) -> Result<Token, PortError> {
        let mut word = String::new();
        let mut read = first;
        loop {
            match read {
                '\\' => self.escaped(&mut word),
                // `${name}`: its brace begins no block.
                '$' if self.rest.peek() == Some(&'{') => {
                    word.push('$');
                    word.extend(self.next());
                }
                read => word.push(read),
            }
            match self.rest.peek() {
                None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{') => return Ok(Token::Word(word)),
                Some(_) => {}
            }
            let Some(next) = self.next() else { return Ok(Token::Word(word)) };
            read = next;
        }
    }

    /// What stands behind a backslash. One that escapes nothing stays, as in a regular expression.
    fn escaped(&mut self, word: &mut String) {
        match self.next() {
            Some(read @ ('"' | '\'' | '\\')) => word.push(read),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(read) => word.extend(['\\', read]),
            None => word.push('\\'),
        }
    }

    /// A Lua program, whose strings and comments may hold braces.
    fn skip_lua(&mut self) -> Result<(), PortError> {
        let mut open = 1;
        while let Some(read) = self.next() {
            match read {
                '{' => open += 1,
                '}' => open -= 1,
                '"' | '\'' => {
                    while let Some(inner) = self.next() {
                        if inner == '\\' {
                            self.next();
                        } else if inner == read || inner == '\n' {
                            break;
                        }
                    }
                }
                '-' if self.rest.peek() == Some(&'-') => {
                    while self.next().is_some_and(|inner| inner != '\n') {}
                }
                _ => {}
            }
            if open == 0 {
                return Ok(());
            }
        }
        Err(self.bad("a Lua block is not closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        fn write(directives: &[Directive], out: &mut Vec<String>, depth: usize) {
            for one in directives {
                out.push(format!("{}{}:{}", "  ".repeat(depth), one.at.line, one.text()));
                write(one.children(), out, depth + 1);
            }
        }
        let mut out = Vec::new();
        write(&parse("/x", text).unwrap(), &mut out, 0);
        out
    }

    #[test]
    fn words_quotes_comments_and_blocks_are_read_as_nginx_reads_them() {
        assert_eq!(texts("a b;# c {\n  # d;\ne { f g h; }\n"), ["1:a b", "3:e", "  3:f g h"]);
        assert_eq!(texts(r#"a "b ; {" 'c"' "d\"e";"#), [r#"1:a b ; { c" d"e"#]);
        // A `#`, a quote and a `}` within a word are a part of it.
        assert_eq!(texts("a b#c d}e f\"g;"), ["1:a b#c d}e f\"g"]);
        assert_eq!(texts("set $a ${b}c; x{y;}"), ["1:set $a ${b}c", "1:x", "  1:y"]);
        assert_eq!(texts(r"rewrite ^/a\.(\d+)$ /b;"), [r"1:rewrite ^/a\.(\d+)$ /b"]);
        assert_eq!(texts("if (-f \"/a b\") { z; }"), ["1:if (-f /a b )", "  1:z"]);
        assert_eq!(texts("a\n  b\n;\nc;"), ["1:a b", "4:c"]);
    }

    #[test]
    fn a_lua_program_is_passed_over() {
        let text = "a_by_lua_block {\n local x = \"}\" -- }\n if y then z({1}) end\n}\nb;";
        assert_eq!(texts(text), ["1:a_by_lua_block", "5:b"]);
        assert!(parse("/x", "a_by_lua_block { {").is_err());
    }

    #[test]
    fn what_nginx_would_not_read_is_refused_with_file_and_line() {
        for (text, line, why) in [
            ("a {\n", 2, "a `}` is missing"),
            ("a;\n}", 2, "closes nothing"),
            ("a\nb", 2, "does not end with `;`"),
            ("a {\n b }", 2, "does not end with `;`"),
            ("\n;", 2, "no name"),
            ("a \"b\n", 2, "not closed"),
            ("a \"b\"c;", 1, "right behind a quoted word"),
        ] {
            let error = parse("/etc/x.conf", text).unwrap_err();
            assert!(error.message.starts_with(&format!("/etc/x.conf:{line}: ")), "{text:?}: {error}");
            assert!(error.message.contains(why), "{text:?}: {error}");
            assert!(error.hints().to_string().contains("nginx -t"), "{error}");
        }
        let deep = "a {".repeat(DEPTH_MAX + 2);
        assert!(parse("/x", &deep).unwrap_err().message.contains("more than 64 deep"));
    }
}
