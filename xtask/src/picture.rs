//! `cargo xtask picture`: the README's picture, from a real run of `lockgate demo`.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

const LINE_PIXELS: usize = 19;
const CHARACTER_PIXELS: f64 = 8.1;
const MARGIN_PIXELS: usize = 20;
/// Longer lines are cut: the picture is for a glance.
const CHARACTERS_MAX: usize = 112;
const PATH: &str = "docs/demo.svg";

pub fn make() -> Result<()> {
    let lines = story(&demo()?)?;
    std::fs::write(PATH, svg(&lines)).context(PATH)?;
    println!("wrote {PATH}: {} lines", lines.len());
    Ok(())
}

/// The demo's whole output as a person sees it, live view off. `LOCKGATE_BINARY` names a program that is built already.
fn demo() -> Result<String> {
    let mut command = match std::env::var_os("LOCKGATE_BINARY") {
        Some(binary) => Command::new(binary),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--release", "--quiet", "--package", "lockgate", "--"]);
            cargo
        }
    };
    let output = command.args(["--no-color", "demo"]).output().context("the demo")?;
    let text = format!("{}{}", String::from_utf8(output.stderr)?, String::from_utf8(output.stdout)?);
    if !output.status.success() {
        bail!("the demo did not go well:\n{text}");
    }
    Ok(text)
}

/// The act in which a release fails its smoke gate, and the table at the end.
fn story(text: &str) -> Result<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let position = |what: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(what))
            .with_context(|| format!("the demo does not say {what:?}"))
    };
    let act = &lines[position("v3")?..position("v4 is")?];
    let end = &lines[position("deployment ")?..];
    let mut story = vec!["$ lockgate demo".to_owned(), "…".to_owned()];
    story.extend(act.iter().map(|line| (*line).to_owned()));
    story.push("…".to_owned());
    story.extend(end.iter().map(|line| (*line).to_owned()));
    Ok(story)
}

fn svg(lines: &[String]) -> String {
    let width = (CHARACTERS_MAX as f64 * CHARACTER_PIXELS) as usize + 2 * MARGIN_PIXELS;
    let height = lines.len() * LINE_PIXELS + 2 * MARGIN_PIXELS;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Output of lockgate demo\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"13\" xml:space=\"preserve\">\n"
    );
    for (index, line) in lines.iter().enumerate() {
        let y = MARGIN_PIXELS + (index + 1) * LINE_PIXELS - 6;
        let shown: String = line.chars().take(CHARACTERS_MAX).collect();
        let (colour, text) = (colour(line), escape(&shown));
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<text x=\"{MARGIN_PIXELS}\" y=\"{y}\" fill=\"{colour}\">{text}</text>");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn colour(line: &str) -> &'static str {
    match line {
        _ if line.starts_with("$ ") || line.starts_with("Not one") => "#ffffff",
        _ if line.contains('✗') || line.contains("failed:") => "#ff7b72",
        _ if line.contains('↩') || line.contains("rolled back") || line.contains("undoing") => "#e3b341",
        _ if line.contains('✓') => "#7ee787",
        _ => "#c9d1d9",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
