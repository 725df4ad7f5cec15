//! What `init` proposes for `lockgate ship`, whole, for each language and each way to manage its packages.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, parse_with};
use lockgate_config::init::Proposal;
use lockgate_model::{EnvironmentName, Project, Runtime, Strategy};

type Files<'a> = &'a [(&'a str, &'a str)];

const DOCKERFILE: (&str, &str) = ("Dockerfile", "FROM scratch\nCOPY . /app\nEXPOSE 8000\n");
const IGNORED: [(&str, &str); 2] = [
    (".gitignore", "__pycache__/\nnode_modules/\ntarget/\nbuild/\n.gradle/\n"),
    (".dockerignore", ".lockgate\n"),
];
const COMPOSE: (&str, &str) = (
    "docker-compose.yml",
    "services:\n  web:\n    build: .\n    image: registry.example.com/acme/web:${IMAGE_TAG:-latest}\n    ports: [\"80:8000\"]\n",
);
const PY_TEST: (&str, &str) = ("tests/test_shop.py", "import unittest\n");

/// The proposal, which parses once the host is named.
fn proposed(files: Files<'_>) -> (Project, Proposal) {
    let (_parent, dir) = folder(files);
    let proposal = of(&dir);
    let project = parse_with(&proposal.text, &[("DROPLET_HOST", "192.0.2.7")])
        .unwrap_or_else(|error| panic!("{}\n---\n{}", error.plain(), proposal.text));
    for note in &proposal.notes {
        assert!(proposal.text.contains(&format!("# - {note}\n")), "{note}:\n{}", proposal.text);
    }
    (project, proposal)
}

fn of(dir: &Path) -> Proposal {
    lockgate_config::init::propose(dir, &EnvironmentName::new("prod").unwrap()).unwrap()
}

/// With what lies beside every app.
fn whole(name: &str, own: Files<'_>) {
    let mut files = own.to_vec();
    files.extend([DOCKERFILE, IGNORED[0], IGNORED[1]]);
    let (project, proposal) = proposed(&files);
    let ship = &project.services.values().next().unwrap().ship;
    assert!(!ship.watch.is_empty(), "{}", proposal.text);
    for line in proposal
        .text
        .lines()
        .filter(|line| ["    test:", "    build:", "    watch:"].iter().any(|key| line.starts_with(key)))
    {
        assert!(line.contains(" # check: "), "a guess says that it is one: {line}");
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, proposal.text);
    });
}

#[test]
fn python_by_each_of_its_managers_and_test_runners() {
    let pytest = ("pyproject.toml", "[project]\nname = \"shop\"\n[dependency-groups]\ndev = [\"pytest\"]\n");
    let poetry = (
        "pyproject.toml",
        "[tool.poetry]\nname = \"shop\"\n[tool.poetry.group.dev.dependencies]\npytest = \"*\"\n",
    );
    let django =
        ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nimport django\n");
    let cases: [(&str, Files<'_>); 12] = [
        ("python_pip_pytest", &[("requirements.txt", "flask\npytest\n"), ("src/app.py", ""), PY_TEST]),
        ("python_pip_unittest", &[("requirements.txt", "flask\n"), ("src/app.py", ""), PY_TEST]),
        ("python_unittest_of_a_package", &[("setup.cfg", ""), ("tests/__init__.py", ""), PY_TEST]),
        ("python_unittest_by_another_pattern", &[("setup.py", ""), ("shop/cart_test.py", "")]),
        ("python_without_marker", &[("src/app.py", ""), PY_TEST]),
        ("python_django", &[django, ("shop/tests.py", ""), ("shop/templates/a.html", "")]),
        ("python_tox", &[("tox.ini", "[tox]\n[testenv]\ncommands = nose\n"), ("app.py", "")]),
        ("python_uv", &[pytest, ("uv.lock", ""), PY_TEST]),
        ("python_uv_unlocked", &[("pyproject.toml", "[tool.uv]\npackage = false\n"), PY_TEST]),
        ("python_poetry", &[poetry, ("poetry.lock", ""), PY_TEST]),
        (
            "python_pipenv",
            &[("Pipfile", "[dev-packages]\npytest = \"*\"\n"), ("Pipfile.lock", "{}"), PY_TEST],
        ),
        (
            "python_alembic_without_tests",
            &[("requirements.txt", "sqlalchemy\n"), ("alembic.ini", ""), ("app.py", "")],
        ),
    ];
    cases.into_iter().for_each(|(name, files)| whole(name, files));
}

#[test]
fn node_by_each_of_its_managers() {
    let package = ("package.json", r#"{"scripts": {"test": "vitest run", "start": "node ."}}"#);
    let berry = ("package.json", r#"{"packageManager": "yarn@4.5.0", "scripts": {"test": "vitest run"}}"#);
    let none = ("package.json", r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#);
    let source = ("src/app.ts", "");
    let cases: [(&str, Files<'_>); 9] = [
        ("node_npm", &[package, ("package-lock.json", "{}"), source, ("public/a.css", "")]),
        ("node_npm_unlocked", &[package, source]),
        ("node_pnpm", &[package, ("pnpm-lock.yaml", ""), source, ("prisma/schema.prisma", "")]),
        ("node_yarn", &[package, ("yarn.lock", ""), source, ("knexfile.js", "")]),
        ("node_yarn_berry", &[berry, ("yarn.lock", ""), source]),
        ("node_bun", &[package, ("bun.lock", ""), source]),
        ("node_two_locks", &[package, ("package-lock.json", "{}"), ("yarn.lock", "")]),
        ("node_without_tests", &[none, ("package-lock.json", "{}"), ("index.js", "")]),
        ("node_broken_package", &[("package.json", "{ scripts"), ("index.js", "")]),
    ];
    cases.into_iter().for_each(|(name, files)| whole(name, files));
}

#[test]
fn go_rust_and_java() {
    let cases: [(&str, Files<'_>); 9] = [
        ("go", &[("go.mod", "module shop\n"), ("go.sum", ""), ("main.go", ""), ("cart/cart_test.go", "")]),
        ("go_without_tests", &[("go.mod", "module shop\n"), ("main.go", "")]),
        (
            "rust",
            &[
                ("Cargo.toml", "[package]\nname = \"shop\"\n"),
                ("Cargo.lock", ""),
                ("src/main.rs", "#[test]\nfn a() {}\n"),
            ],
        ),
        (
            "rust_workspace",
            &[
                ("Cargo.toml", "[workspace]\n"),
                ("a/Cargo.toml", ""),
                ("a/src/lib.rs", "    #[tokio::test]\n"),
            ],
        ),
        (
            "java_mvnw",
            &[("pom.xml", ""), ("mvnw", ""), ("src/main/resources/a.yml", ""), ("src/test/java/A.java", "")],
        ),
        ("java_mvn", &[("pom.xml", ""), ("app/pom.xml", ""), ("app/src/test/java/A.java", "")]),
        (
            "java_gradlew",
            &[
                ("build.gradle.kts", ""),
                ("gradlew", ""),
                ("gradle/libs.versions.toml", ""),
                ("src/test/kotlin/A.kt", ""),
            ],
        ),
        ("java_gradle", &[("build.gradle", ""), ("src/test/java/A.java", "")]),
        ("java_both_without_tests", &[("pom.xml", ""), ("build.gradle", ""), ("src/main/java/A.java", "")]),
    ];
    cases.into_iter().for_each(|(name, files)| whole(name, files));
}

#[test]
fn what_cannot_be_told_is_said() {
    let node = ("package.json", r#"{"scripts": {"test": "jest"}}"#);
    let both: Files<'_> = &[
        ("requirements.txt", "pytest\n"),
        ("app.py", ""),
        node,
        ("package-lock.json", ""),
        ("ui/a.tsx", ""),
    ];
    whole("python_and_node", both);
    whole(
        "python_without_tests_and_node",
        &[("requirements.txt", ""), ("app.py", ""), node, ("yarn.lock", "")],
    );
    let below: Files<'_> = &[("backend/pyproject.toml", ""), ("frontend/package.json", ""), DOCKERFILE];
    for (files, said) in [
        (below, "but below there is `backend/pyproject.toml`, `frontend/package.json`: write `test` by hand"),
        (&[DOCKERFILE], "Nothing here tells in what it is written: write `test` by hand."),
        (
            &[("requirements.txt", "")],
            "Found Python (`requirements.txt`): with a Dockerfile, `lockgate ship` tests",
        ),
        (&[("app/Dockerfile", "")], "There is `app/Dockerfile` below: run `lockgate init` in that folder"),
        (&[DOCKERFILE, ("go.mod", ""), ("a_test.go", "")], "`echo .lockgate >> .dockerignore`"),
        (&[DOCKERFILE, ("setup.py", ""), PY_TEST], "is not shipped: `echo __pycache__/ >> .gitignore`."),
        (
            &[("compose.yaml", "services: { web: { build: ../up } }")],
            "No `build` is proposed for `web`: its Dockerfile is not",
        ),
        (
            &[("compose.yaml", "services: { web: { build: . } }")],
            "`Dockerfile` is not there, so no `build` is proposed.",
        ),
    ] as [(Files<'_>, &str); 8]
    {
        let (_, proposal) = proposed(files);
        assert!(proposal.notes.iter().any(|note| note.contains(said)), "{said}\n{:#?}", proposal.notes);
    }
}

#[test]
fn an_empty_folder_and_a_dockerfile_that_is_a_folder_have_nothing_to_build() {
    let (project, proposal) = proposed(&[]);
    assert!(
        project.services.values().all(|service| service.ship.watch.is_empty() && service.ship.test.is_none())
    );
    assert!(
        !proposal.text.contains("build:") && !proposal.text.contains("DROPLET_HOST"),
        "{}",
        proposal.text
    );
    for files in [&[("Dockerfile/x", "")] as Files<'_>, &[("Dockerfile/x", ""), COMPOSE]] {
        let (_, proposal) = proposed(files);
        assert!(!proposal.text.contains("    build:"), "{}", proposal.text);
        assert!(proposal.notes.iter().any(|note| note.contains("is no file")), "{:#?}", proposal.notes);
    }
}

#[test]
fn one_service_of_a_compose_file_with_a_dockerfile_is_system_c() {
    let files: Files<'_> = &[
        COMPOSE,
        ("Dockerfile", "FROM python:3.12\nCOPY requirements.txt /\nCOPY src /src\nCOPY bin/app /app\n"),
        ("requirements.txt", "flask\n"),
        ("src/words.txt", ""),
        ("src/app.py", ""),
        ("bin/app", ""),
        PY_TEST,
        (".github/workflows/test.yml", ""),
        IGNORED[0],
    ];
    let (project, proposal) = proposed(files);
    let prod = project.environments.last().unwrap().slots().unwrap();
    assert!(matches!((&prod.strategy, &prod.runtime), (Strategy::Recreate, Runtime::Compose(_))));
    assert_eq!(prod.hosts[0].as_str(), "root@192.0.2.7");
    assert!(proposal.ships);
    insta::assert_snapshot!("system_c", proposal.text);

    let text = "services:\n  Shop_API:\n    build: { context: ./api, dockerfile: prod.Dockerfile }\n    env_file: .env\n    ports: [8000]\n  db: { image: 'postgres:16' }\n";
    let (_, proposal) = proposed(&[
        ("compose.yaml", text),
        ("api/prod.Dockerfile", "FROM scratch\nCOPY . .\n"),
        ("api/package.json", r#"{"scripts": {"test": "jest"}}"#),
        ("api/package-lock.json", ""),
        ("api/index.js", ""),
        (".env.example", "SECRET_KEY=never shown\nVALKEY_HOST=\n"),
    ]);
    assert!(!proposal.text.contains("never shown"));
    insta::assert_snapshot!("system_c_in_a_folder_below", proposal.text);
}

#[test]
fn several_services_are_each_built_from_their_own_folder_and_with_caddy_there_are_slots() {
    let text =
        "services:\n  api: { build: ./api, ports: [8000] }\n  jobs: { build: ./jobs, ports: [8001] }\n";
    let apps = [
        ("compose.yaml", text),
        ("api/Dockerfile", "FROM scratch\nCOPY . .\n"),
        ("api/go.mod", ""),
        ("api/a_test.go", ""),
        ("jobs/Dockerfile", "FROM scratch\nCOPY . .\n"),
        ("jobs/Cargo.toml", ""),
    ];
    let (project, proposal) = proposed(&apps);
    assert!(!proposal.ships);
    let ship =
        |name: &str| &project.services.iter().find(|(known, _)| known.as_str() == name).unwrap().1.ship;
    assert_eq!(ship("api").test.as_ref().unwrap().run, "cd api && go test ./...");
    assert_eq!(ship("api").build.context, "api");
    assert_eq!(ship("jobs").test, None);
    assert!(ship("jobs").watch.contains(&"jobs/**/Cargo.toml".to_owned()), "{:?}", ship("jobs").watch);
    let said = "In `jobs`: No tests were found for Rust (Cargo.toml)";
    assert!(proposal.notes.iter().any(|note| note.starts_with(said)), "{:#?}", proposal.notes);

    let (_, proposal) =
        proposed(&[COMPOSE, DOCKERFILE, ("Caddyfile", "example.com {\n\treverse_proxy web-blue:8000\n}\n")]);
    assert!(!proposal.ships && proposal.text.contains("router: { caddy:"), "{}", proposal.text);
    assert!(proposal.text.contains("    build: "), "{}", proposal.text);
}

#[test]
fn hostile_names_stay_text() {
    let evil = "services:\n  \"a{b} ${X}\":\n    build: { context: './x y $(id)', dockerfile: \"D\\n\" }\n    image: i\n";
    proposed(&[("compose.yaml", evil), ("x y $(id)/Dockerfile", "")]);
    let text = "services:\n  web: { build: './x y' }\n";
    let (project, _) = proposed(&[
        ("compose.yaml", text),
        ("x y/Dockerfile", "COPY \"a b\" ${X} $(id) [1] ../../etc /\n"),
        ("x y/go.mod", ""),
        ("x y/a'b_test.go", ""),
    ]);
    let ship = &project.services.values().next().unwrap().ship;
    assert_eq!(ship.test.as_ref().unwrap().run, "cd 'x y' && go test ./...");
    let (_parent, dir) = folder(&[DOCKERFILE, ("app.py", "")]);
    fs::write(dir.join("package.json"), [0xff, 0xfe]).unwrap();
    fs::write(dir.join("test_\n# x: y.py"), "").unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("go.mod")).unwrap();
    let proposal = of(&dir);
    common::good(&proposal.text);
}
