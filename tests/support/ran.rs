//! How a command of the binary went.

use serde_json::Value;

#[derive(Debug)]
pub struct Ran {
    /// What was typed.
    pub typed: String,
    /// Absent when it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code == Some(code), "wanted exit code {code}:\n{self}");
        self
    }

    /// Every one of these is somewhere in what it said to people.
    #[track_caller]
    pub fn says(self, wanted: &[&str]) -> Self {
        for text in wanted {
            assert!(
                self.stderr.contains(text) || self.stdout.contains(text),
                "{text:?} is not said:\n{self}"
            );
        }
        self
    }

    /// All lines of standard output, each of which must be a JSON object.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}:\n{self}"))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last line, which is the result of a command that ran.
    #[track_caller]
    pub fn last(&self) -> Value {
        self.lines().pop().unwrap_or_else(|| panic!("nothing was printed:\n{self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\nexit {:?}\n--- stdout\n{}--- stderr\n{}",
            self.typed, self.code, self.stdout, self.stderr
        )
    }
}
