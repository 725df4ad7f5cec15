//! Commands that are cut off with SIGKILL after a certain line of their output.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A command that was killed, or came to its end before.
#[derive(Debug)]
pub struct Cut {
    pub lines: Vec<String>,
    /// False when it ended by itself before line `after`.
    pub killed: bool,
}

impl Cut {
    pub fn last(&self) -> &str {
        self.lines.last().map_or("(nothing printed)", |line| &line[..line.len().min(200)])
    }
}

/// Kills with SIGKILL as soon as `after` lines have been read.
pub fn cut(mut command: Command, after: usize) -> Cut {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut killed = true;
    while lines.len() < after {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            killed = false;
            break;
        }
        lines.push(line);
    }
    if killed {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    Cut { lines, killed }
}
