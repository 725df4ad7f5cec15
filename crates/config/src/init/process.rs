//! How a program without a container is started.

use std::path::Path;

use super::read;

/// Where it was found, and the command.
pub fn look(dir: &Path) -> Option<(String, String)> {
    procfile(dir).or_else(|| package_json(dir)).or_else(|| cargo_toml(dir))
}

fn procfile(dir: &Path) -> Option<(String, String)> {
    let text = read(&dir.join("Procfile"))?;
    let command = text.lines().find_map(|line| line.strip_prefix("web:"))?.trim();
    // Lockgate runs no shell, so a line that needs one is not proposed.
    let plain = !command.is_empty() && !command.contains(['$', '|', '&', ';', '>', '<', '`', '{']);
    (plain && shell_words::split(command).is_ok()).then(|| ("Procfile".to_owned(), command.to_owned()))
}

fn package_json(dir: &Path) -> Option<(String, String)> {
    let json: serde_json::Value = serde_json::from_str(&read(&dir.join("package.json"))?).ok()?;
    json["scripts"]["start"].as_str()?;
    Some(("package.json".to_owned(), "npm start".to_owned()))
}

fn cargo_toml(dir: &Path) -> Option<(String, String)> {
    let text = read(&dir.join("Cargo.toml"))?;
    let package = text.split("[package]").nth(1)?;
    let line = package
        .lines()
        .take_while(|line| !line.starts_with('['))
        .find(|line| line.split('=').next().is_some_and(|key| key.trim() == "name"))?;
    let name = line.split('"').nth(1)?;
    let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    legal.then(|| ("Cargo.toml".to_owned(), format!("./target/release/{name}")))
}
