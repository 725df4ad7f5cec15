//! Java and what else Maven and Gradle build.

use super::language::{Language, Test, globs};
use super::listing::Listing;

const MAVEN: &str = "pom.xml";
const GRADLE: [&str; 4] = ["build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"];
const NAMES: [&str; 9] = [
    "mvnw",
    "gradlew",
    "gradle.properties",
    "build.gradle.kts",
    "build.gradle",
    "settings.gradle.kts",
    "settings.gradle",
    "gradle.lockfile",
    ".java-version",
];

pub fn look(files: &Listing, notes: &mut Vec<String>) -> Option<Language> {
    let gradle = files.those(&GRADLE).first().copied();
    let because = if files.has(MAVEN) { MAVEN } else { gradle? };
    if let (MAVEN, Some(gradle)) = (because, gradle) {
        notes.push(format!("There are both {MAVEN} and {gradle}: the test is Maven's."));
    }
    let (command, leaves): (_, &[&str]) = match (because, files.has("mvnw"), files.has("gradlew")) {
        (MAVEN, true, _) => ("./mvnw -B test", &["target/"]),
        (MAVEN, false, _) => ("mvn -B test", &["target/"]),
        (_, _, true) => ("./gradlew test", &[".gradle/", "build/"]),
        (_, _, false) => ("gradle test", &[".gradle/", "build/"]),
    };
    let first = files.files().find(|file| file.starts_with("src/test/") || file.contains("/src/test/"));
    let test =
        first.map(|first| Test { command: command.to_owned(), because: format!("{because}, {first}") });
    let mut watch = globs(files, &["java", "kt", "groovy", "scala", "properties"], &NAMES);
    if because == MAVEN {
        watch.push("**/pom.xml".to_owned());
    } else if files.has("gradle/wrapper/gradle-wrapper.properties") || files.has_folder("gradle") {
        watch.push("gradle/**".to_owned());
    }
    Some(Language { name: "Java", because: because.to_owned(), test, watch, leaves })
}
