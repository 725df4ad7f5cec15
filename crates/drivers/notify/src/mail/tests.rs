//! Against Debian's `aiosmtpd`, and against a double for what no well server answers: the codes are those of RFC 5321, 4.2.3 and
//! RFC 4954, 6.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use lockgate_model::Secret;
use lockgate_ports::{CheckState, MessageKind};

use super::*;
use crate::fixtures::{going_back, install_tls, job_failed, message, told};

const START_SECONDS_MAX: u64 = 30;
const PASSWORD: &str = "hunter2hunter2";

fn mail(port: u16, login: bool) -> Mail {
    install_tls();
    Mail::new(Email {
        host: "127.0.0.1".to_owned(),
        port,
        security: SmtpSecurity::None,
        login: login.then(|| ("lee".to_owned(), Secret::new(PASSWORD))),
        from: "Deploys <deploys@example.com>".to_owned(),
        to: vec!["team@example.com".to_owned(), "Lee <lee@example.com>".to_owned()],
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Keeps what comes in a Maildir. `None` where it is not installed, which is said.
fn server(folder: &Path, port: u16) -> Option<Server> {
    let mut command = Command::new("aiosmtpd");
    command
        .args([
            "--nosetuid",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--class",
            "aiosmtpd.handlers.Mailbox",
        ])
        .arg(folder)
        .stdin(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(Server(child)),
        Err(error) => {
            println!("skipped: aiosmtpd: {error}; scripts/setup installs it");
            None
        }
    }
}

async fn is_up(mail: &Mail) {
    let start = Instant::now();
    while mail.check().await.state != CheckState::Ok {
        assert!(start.elapsed().as_secs() < START_SECONDS_MAX, "{:?}", mail.check().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn arrived(folder: &Path) -> Vec<String> {
    let mut mails: Vec<String> = std::fs::read_dir(folder.join("new"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    mails.sort_by_key(|mail| mail.contains("In-Reply-To"));
    mails
}

#[tokio::test]
async fn a_run_is_a_conversation_of_mails() {
    let (root, port) = (tempfile::tempdir().unwrap(), free_port());
    // It makes a Maildir where there is nothing.
    let folder = root.path().join("mail");
    let Some(_server) = server(&folder, port) else { return };
    let mail = mail(port, false);
    is_up(&mail).await;
    let posted = mail.send(&message(MessageKind::Starting), None).await.unwrap();
    mail.send(&message(MessageKind::Success), posted.as_ref()).await.unwrap();
    let mails = arrived(&folder);
    assert_eq!(mails.len(), 2, "{mails:?}");
    for (told, wanted) in
        mails.iter().zip(["Subject: web v2 goes to prod", "Subject: web v2 is live in prod"])
    {
        assert!(told.contains(wanted), "{told}");
        assert!(told.contains("From: Deploys <deploys@example.com>"), "{told}");
        assert!(told.contains("To: team@example.com, Lee <lee@example.com>"), "{told}");
        assert!(told.contains("run:   00000000-0000-0000-0000-000000000007"), "{told}");
    }
    let id = posted.unwrap().as_str().to_owned();
    assert!(mails[0].contains(&format!("Message-ID: {id}")), "{}", mails[0]);
    assert!(mails[1].contains(&format!("In-Reply-To: {id}")), "{}", mails[1]);
}

/// Answers each line by the first of the pairs that it begins with; what comes after the greeting is up to it.
fn double(answers: Vec<(&'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            drop(stream.write_all(b"220 double\r\n"));
            let Ok(copy) = stream.try_clone() else { return };
            for line in BufReader::new(copy).lines() {
                let Ok(line) = line else { break };
                let answer = answers.iter().find(|(start, _)| line.starts_with(start));
                let answer = answer.map_or("250 OK", |(_, answer)| *answer);
                if answer.is_empty() || stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn a_refusal_says_what_to_look_at_and_not_what_the_server_said() {
    let hello = ("EHLO", "250-double\r\n250 AUTH PLAIN LOGIN");
    let (ok, smtp) = (("AUTH", "235 ok"), "`smtp` under `notify`");
    let cases = [
        (
            vec![("AUTH", "535 5.7.8 hunter2hunter2 is wrong")],
            FailureKind::Unauthorized,
            "`user` and `password`",
        ),
        (vec![ok, ("RCPT", "550 5.1.1 no hunter2hunter2")], FailureKind::Refused, "receivers"),
        (vec![ok, ("MAIL", "451 4.3.0 later")], FailureKind::Unreachable, "see its log"),
        (vec![ok, ("DATA", "554 no")], FailureKind::Other, "see its log"),
        (vec![ok, ("MAIL", "")], FailureKind::Unreachable, smtp),
    ];
    for (answers, kind, hint) in cases {
        let answers = [vec![hello], answers].concat();
        let error = mail(double(answers), true).send(&message(MessageKind::Success), None).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.kind, kind, "{shown}");
        assert!(shown.contains(hint), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

#[tokio::test]
async fn nobody_there_and_no_encryption_are_told_apart_and_nothing_goes_unencrypted() {
    let error = mail(free_port(), true).send(&message(MessageKind::Success), None).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    let port = double(vec![("EHLO", "250-double\r\n250 AUTH PLAIN LOGIN"), ("AUTH", "235 ok")]);
    let mut encrypted = mail(port, true);
    encrypted.email.security = SmtpSecurity::StartTls;
    let error = encrypted.send(&message(MessageKind::Success), None).await.unwrap_err();
    assert!(format!("{error} {error:?}").contains("STARTTLS"), "{error:?}");
}

/// Whole, but for its date.
fn written(message: &Message) -> String {
    let mail = mail(25, false);
    let bytes = mail.mail(message, &id(message, "127.0.0.1"), None).unwrap().formatted();
    let text = String::from_utf8(bytes).unwrap().replace('\r', "");
    text.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn all_that_is_known_of_a_run_is_in_its_mail() {
    let mails = [told(MessageKind::Success), going_back(), job_failed()];
    insta::assert_snapshot!(mails.iter().map(written).collect::<Vec<_>>().join("\n\n=====\n"));
}
